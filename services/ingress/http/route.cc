#include "services/ingress/http/route.h"

#include <optional>
#include <vector>

namespace millrace::http {
namespace {

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

// Each segment decoded; nothing where one is badly encoded.
std::optional<std::vector<std::string>> Split(std::string_view path) {
  std::vector<std::string> parts;
  while (true) {
    const size_t slash = path.find('/');
    std::optional<std::string> part = Decode(path.substr(0, slash));
    if (!part.has_value()) return std::nullopt;
    parts.push_back(std::move(*part));
    if (slash == std::string_view::npos) return parts;
    path.remove_prefix(slash + 1);
  }
}

// The part after "models/": M, M/versions/V, and what follows these.
Route ModelRoute(const std::vector<std::string>& parts) {
  Route route;
  size_t next = 3;
  route.model = parts[2];
  if (parts.size() > 4 && parts[3] == "versions") {
    route.version = parts[4];
    next = 5;
    if (route.version.empty()) return {};
  }
  if (route.model.empty()) return {};
  if (parts.size() == next) {
    route.endpoint = Endpoint::kModel;
  } else if (parts.size() == next + 1) {
    if (parts[next] == "ready") route.endpoint = Endpoint::kModelReady;
    if (parts[next] == "config") route.endpoint = Endpoint::kModelConfig;
    if (parts[next] == "infer") route.endpoint = Endpoint::kInfer;
  }
  return route;
}

Route V1Route(std::string_view name) {
  Route route;
  route.endpoint = Endpoint::kV1Model;
  if (constexpr std::string_view kVerb = ":predict"; name.ends_with(kVerb)) {
    name.remove_suffix(kVerb.size());
    route.endpoint = Endpoint::kPredict;
  } else if (name.find(':') != std::string_view::npos) {
    return {};
  }
  if (name.empty()) return {};
  route.model = name;
  return route;
}

}  // namespace

Route ParseTarget(std::string_view target) {
  // The absolute form, which a server must understand as well.
  if (constexpr std::string_view kScheme = "http://"; target.starts_with(kScheme)) {
    const size_t slash = target.find('/', kScheme.size());
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  target = target.substr(0, target.find('?'));
  if (target.empty() || target[0] != '/') return {};
  target.remove_prefix(1);
  if (target.ends_with('/')) target.remove_suffix(1);
  if (target.empty()) return {Endpoint::kAlive, "", ""};
  const std::optional<std::vector<std::string>> split = Split(target);
  if (!split.has_value()) return {};
  const std::vector<std::string>& parts = *split;
  const bool v2 = parts[0] == "v2";
  const bool v1 = parts[0] == "v1";
  if (v2 && parts.size() == 1) return {Endpoint::kServer, "", ""};
  if (v2 && parts.size() == 3 && parts[1] == "health") {
    if (parts[2] == "live") return {Endpoint::kLive, "", ""};
    if (parts[2] == "ready") return {Endpoint::kReady, "", ""};
  }
  if (!(v1 || v2) || parts.size() < 2 || parts[1] != "models") return {};
  if (parts.size() == 2) return {Endpoint::kModels, "", ""};
  if (v2) return ModelRoute(parts);
  return parts.size() == 3 ? V1Route(parts[2]) : Route();
}

}  // namespace millrace::http
