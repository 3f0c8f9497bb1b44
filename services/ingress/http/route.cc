#include "services/ingress/http/route.h"

#include <array>
#include <optional>

#include "common/check.h"

namespace millrace::http {
namespace {

constexpr std::string_view kModelWord = "{model}";
constexpr std::string_view kVersionWord = "{version}";
constexpr std::string_view kRegionWord = "{region}";

constexpr RoutePattern kRoutes[] = {
    {"/v2/models/{model}/infer", Endpoint::kInfer},
    {"/v2/models/{model}/versions/{version}/infer", Endpoint::kInfer},
    {"/v1/models/{model}:predict", Endpoint::kPredict},
    {"/", Endpoint::kAlive},
    {"/openapi.json", Endpoint::kOpenApi},
    {"/v2", Endpoint::kServer},
    {"/v2/health/live", Endpoint::kLive},
    {"/v2/health/ready", Endpoint::kReady},
    {"/v2/models", Endpoint::kModels},
    {"/v2/models/stats", Endpoint::kStatistics},
    {"/v2/models/{model}", Endpoint::kModel},
    {"/v2/models/{model}/versions/{version}", Endpoint::kModel},
    {"/v2/models/{model}/ready", Endpoint::kModelReady},
    {"/v2/models/{model}/versions/{version}/ready", Endpoint::kModelReady},
    {"/v2/models/{model}/config", Endpoint::kModelConfig},
    {"/v2/models/{model}/versions/{version}/config", Endpoint::kModelConfig},
    {"/v2/models/{model}/stats", Endpoint::kModelStatistics},
    {"/v2/models/{model}/versions/{version}/stats", Endpoint::kModelStatistics},
    {"/v2/models/{model}/trace/setting", Endpoint::kModelTraceSetting},
    {"/v2/trace/setting", Endpoint::kTraceSetting},
    {"/v2/logging", Endpoint::kLogging},
    {"/v2/repository/index", Endpoint::kIndex},
    {"/v2/repository/models/{model}/load", Endpoint::kLoad},
    {"/v2/repository/models/{model}/unload", Endpoint::kUnload},
    {"/v2/routes", Endpoint::kRoutes},
    {"/v2/routes/{model}", Endpoint::kRoute},
    {"/v2/routes/{model}/history", Endpoint::kRouteHistory},
    {"/v2/rollouts", Endpoint::kRollouts},
    {"/v2/rollouts/{model}", Endpoint::kRollout},
    {"/v1/models", Endpoint::kModels},
    {"/v1/models/{model}", Endpoint::kV1Model},
    {"/v2/systemsharedmemory/status", Endpoint::kRegionStatus},
    {"/v2/systemsharedmemory/region/{region}/status", Endpoint::kRegionStatus},
    {"/v2/systemsharedmemory/region/{region}/register", Endpoint::kRegionRegister},
    {"/v2/systemsharedmemory/unregister", Endpoint::kRegionUnregister},
    {"/v2/systemsharedmemory/region/{region}/unregister", Endpoint::kRegionUnregister},
    {"/v2/cudasharedmemory/status", Endpoint::kCudaStatus},
    {"/v2/cudasharedmemory/region/{region}/status", Endpoint::kCudaStatus},
    {"/v2/cudasharedmemory/region/{region}/register", Endpoint::kCudaRegister},
    {"/v2/cudasharedmemory/unregister", Endpoint::kCudaUnregister},
    {"/v2/cudasharedmemory/region/{region}/unregister", Endpoint::kCudaUnregister},
};

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> Decode(std::string_view segment) {
  std::string text;
  for (size_t i = 0; i < segment.size(); ++i) {
    if (segment[i] != '%') {
      text.push_back(segment[i]);
      continue;
    }
    if (segment.size() - i < 3) return std::nullopt;
    const int high = HexDigit(segment[i + 1]);
    const int low = HexDigit(segment[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    text.push_back(static_cast<char>(high << 4 | low));
    i += 2;
  }
  return text;
}

// The segments of a target, decoded; those without an escape are views of it.
struct Segments {
  static constexpr size_t kMost = 6;  // the longest path of the table
  std::array<std::string_view, kMost> part;
  std::array<std::string, kMost> decoded;
  size_t count = 0;

  // `path` without its first slash. False where a segment is badly encoded or there are too many.
  bool Split(std::string_view path) {
    while (true) {
      if (count == kMost) return false;
      const size_t slash = path.find('/');
      part[count] = path.substr(0, slash);
      if (part[count].find('%') != std::string_view::npos) {
        std::optional<std::string> text = Decode(part[count]);
        if (!text.has_value()) return false;
        decoded[count] = std::move(*text);
        part[count] = decoded[count];
      }
      ++count;
      if (slash == std::string_view::npos) return true;
      path.remove_prefix(slash + 1);
    }
  }
};

// What stands in a target for the words of a pattern; views of its segments.
struct Names {
  std::string_view model;
  std::string_view version;
  std::string_view region;
};

// One segment against one of a pattern: a word, "{model}", "{version}" or "{model}:verb".
bool MatchSegment(std::string_view pattern, std::string_view segment, bool verbs, Names* names) {
  if (pattern == kVersionWord) {
    names->version = segment;
    return !segment.empty();
  }
  if (pattern == kRegionWord) {
    names->region = segment;
    return !segment.empty();
  }
  if (!pattern.starts_with(kModelWord)) return pattern == segment;
  const std::string_view verb = pattern.substr(kModelWord.size());
  if (!segment.ends_with(verb)) return false;
  segment.remove_suffix(verb.size());
  // Where verbs follow names, an unknown verb is no name.
  if (verbs && verb.empty() && segment.find(':') != std::string_view::npos) return false;
  names->model = segment;
  return !segment.empty();
}

// `pattern` without its first slash.
bool Match(std::string_view pattern, const Segments& segments, Names* names) {
  const bool verbs = pattern.starts_with("v1/");
  for (size_t i = 0; i < segments.count; ++i) {
    const size_t slash = pattern.find('/');
    const bool last = slash == std::string_view::npos;
    if (last != (i + 1 == segments.count)) return false;
    if (!MatchSegment(pattern.substr(0, slash), segments.part[i], verbs, names)) return false;
    if (!last) pattern.remove_prefix(slash + 1);
  }
  return true;
}

}  // namespace

absl::Span<const RoutePattern> RouteTable() { return kRoutes; }

bool TakesPost(Endpoint endpoint) {
  return endpoint == Endpoint::kInfer || endpoint == Endpoint::kPredict ||
         endpoint == Endpoint::kIndex || endpoint == Endpoint::kRegionRegister ||
         endpoint == Endpoint::kRegionUnregister || endpoint == Endpoint::kCudaRegister ||
         endpoint == Endpoint::kCudaUnregister || endpoint == Endpoint::kLoad ||
         endpoint == Endpoint::kUnload;
}

bool TakesPostToo(Endpoint endpoint) {
  return endpoint == Endpoint::kTraceSetting || endpoint == Endpoint::kModelTraceSetting ||
         endpoint == Endpoint::kLogging || endpoint == Endpoint::kRoute ||
         endpoint == Endpoint::kRollout;
}

// Without a default, so that a new endpoint does not compile before it has a scope.
Scope ScopeOf(Endpoint endpoint) {
  switch (endpoint) {
    case Endpoint::kUnknown:
    case Endpoint::kAlive:
    case Endpoint::kOpenApi:
    case Endpoint::kLive:
    case Endpoint::kReady:
      return kScopeNone;
    case Endpoint::kServer:
    case Endpoint::kModels:
    case Endpoint::kModel:
    case Endpoint::kModelReady:
    case Endpoint::kModelConfig:
    case Endpoint::kInfer:
    case Endpoint::kV1Model:
    case Endpoint::kPredict:
    case Endpoint::kRegionStatus:
    case Endpoint::kRegionRegister:
    case Endpoint::kRegionUnregister:
    case Endpoint::kCudaStatus:
    case Endpoint::kCudaRegister:
    case Endpoint::kCudaUnregister:
      return kScopeInfer;
    case Endpoint::kStatistics:
    case Endpoint::kModelStatistics:
      return kScopeMetrics;
    case Endpoint::kIndex:
    case Endpoint::kTraceSetting:
    case Endpoint::kModelTraceSetting:
    case Endpoint::kLogging:
    case Endpoint::kLoad:
    case Endpoint::kUnload:
    case Endpoint::kRoutes:
    case Endpoint::kRoute:
    case Endpoint::kRouteHistory:
    case Endpoint::kRollouts:
    case Endpoint::kRollout:
      return kScopeAdmin;
  }
  MR_CHECK(false, "an endpoint is one of the list");
  return kScopeAdmin;
}

void ParseTarget(std::string_view target, Route* route) {
  route->Clear();
  // The absolute form, which a server must understand as well.
  if (constexpr std::string_view kScheme = "http://"; target.starts_with(kScheme)) {
    const size_t slash = target.find('/', kScheme.size());
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  target = target.substr(0, target.find('?'));
  if (target.empty() || target[0] != '/') return;
  target.remove_prefix(1);
  if (target.ends_with('/')) target.remove_suffix(1);
  Segments segments;
  if (!segments.Split(target)) return;
  for (const RoutePattern& pattern : kRoutes) {
    Names names;
    if (!Match(pattern.path.substr(1), segments, &names)) continue;
    route->endpoint = pattern.endpoint;
    route->model = names.model;
    route->version = names.version;
    route->region = names.region;
    return;
  }
}

}  // namespace millrace::http
