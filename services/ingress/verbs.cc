#include "services/ingress/verbs.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

constexpr size_t kMaxName = 128;

constexpr std::string_view kExtensions[] = {
    "classification",   "model_configuration",
    "model_repository", "model_repository(unload_dependents)",
    "schedule_policy",  "statistics"};

constexpr LogSetting kLogSettings[] = {{"log_file", std::string_view()},
                                       {"log_info", true},
                                       {"log_warning", true},
                                       {"log_error", true},
                                       {"log_verbose_level", 0u},
                                       {"log_format", std::string_view("ISO8601")}};

// A name from outside, for a sentence.
std::string Quoted(std::string_view name) {
  const std::string_view cut = name.substr(0, 64);
  return absl::StrCat("\"", absl::string_view(cut.data(), cut.size()), "\"");
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

}  // namespace

absl::Span<const std::string_view> ServedExtensions() { return kExtensions; }

std::vector<IndexEntry> IndexOf(const Frontend& frontend, const Catalog* catalog, bool draining,
                                bool only_ready) {
  constexpr std::string_view kReady = "READY", kUnavailable = "UNAVAILABLE";
  std::vector<IndexEntry> index;
  if (catalog == nullptr) return index;
  for (const Model& model : catalog->models()) {
    const bool ready = !draining && frontend.ModelReady(model.name(), model.version()).ok();
    if (ready) {
      index.push_back({model.name(), model.version(), kReady, ""});
    } else if (!only_ready) {
      index.push_back(
          {model.name(), model.version(), kUnavailable,
           draining ? "the server is shutting down" : "a stage that it needs is not ready"});
    }
  }
  if (only_ready) return index;
  for (const FailedModel& failed : catalog->failed()) {
    index.push_back({failed.name(), failed.version(), kUnavailable,
                     "it cannot be loaded; the server's log says why"});
  }
  for (const std::string& name : catalog->unloaded()) {
    index.push_back({name, "", kUnavailable, "unloaded"});
  }
  for (const EvictedVersion& evicted : catalog->evicted()) {
    index.push_back({evicted.name(), evicted.version(), kUnavailable, "evicted"});
  }
  return index;
}

absl::Status CheckModelName(std::string_view name) {
  const bool plain = !name.empty() && name.size() <= kMaxName && name[0] != '.' &&
                     name.find("..") == std::string_view::npos &&
                     std::all_of(name.begin(), name.end(), IsNameCharacter);
  if (plain) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "model_name: must be 1 to 128 of A-Z a-z 0-9 _ . -, not begin with a dot and have no \"..\"");
}

absl::Status CheckChangeParameter(ModelChange::Kind kind, std::string_view key, bool is_bool) {
  if (kind == ModelChange::Kind::kLoad) {
    if (key == "config" || key.substr(0, 5) == "file:") {
      return absl::UnimplementedError(absl::StrCat(
          "parameters[", Quoted(key),
          "]: a model is loaded from the repository as it is there, never from a request"));
    }
  } else if (key == "unload_dependents") {
    if (is_bool) return absl::OkStatus();
    return absl::InvalidArgumentError("parameters[\"unload_dependents\"]: must be a boolean");
  }
  return absl::InvalidArgumentError(
      absl::StrCat("parameters[", Quoted(key), "]: is not known to this server"));
}

absl::Status FindStatistics(const Frontend& frontend, std::string_view model,
                            std::string_view version, std::vector<ModelStatistic>* out) {
  *out = frontend.Statistics(model, version);
  if (!out->empty() || model.empty()) return absl::OkStatus();
  const absl::Status ready = frontend.ModelReady(model, version);
  if (absl::IsNotFound(ready)) return ready;
  return absl::UnavailableError("no model is served yet");
}

uint64_t PlanBytesOf(const Catalog* catalog, const ModelStatistic& statistic) {
  if (catalog == nullptr) return 0;
  for (const Model& model : catalog->models()) {
    if (model.name() == statistic.name && model.version() == statistic.version) {
      return model.plan_bytes();
    }
  }
  return 0;
}

absl::Span<const LogSetting> LogSettingsNow() { return kLogSettings; }

absl::Status CheckLogSetting(std::string_view name,
                             const std::variant<bool, uint32_t, std::string>& value) {
  if (name == "log_file") {
    const std::string* path = std::get_if<std::string>(&value);
    if (path != nullptr && path->empty()) return absl::OkStatus();
    return absl::UnimplementedError(
        "log_file: the log goes to standard error; no client may name a file that the server "
        "writes");
  }
  for (const LogSetting& setting : kLogSettings) {
    if (setting.name != name) continue;
    if (setting.value.index() != value.index()) {
      constexpr const char* kKinds[] = {"a boolean", "a whole number", "a string"};
      return absl::InvalidArgumentError(
          absl::StrCat(Quoted(name), ": must be ", kKinds[setting.value.index()]));
    }
    const bool same = std::visit(
        [&](const auto& now) {
          using Now = std::decay_t<decltype(now)>;
          if constexpr (std::is_same_v<Now, std::string_view>) {
            return std::get<std::string>(value) == now;
          } else {
            return std::get<Now>(value) == now;
          }
        },
        setting.value);
    if (same) return absl::OkStatus();
    return absl::UnimplementedError(
        absl::StrCat(Quoted(name), ": the log of this server cannot be changed while it runs"));
  }
  return absl::InvalidArgumentError(absl::StrCat(Quoted(name), ": is no setting of the log"));
}

absl::Status CheckTraceSetting(std::string_view name, absl::Span<const std::string> values) {
  constexpr std::string_view kKnown[] = {kTraceLevel,     "trace_rate", "trace_count",
                                         "log_frequency", "trace_file", "trace_mode"};
  if (std::find(std::begin(kKnown), std::end(kKnown), name) == std::end(kKnown)) {
    return absl::InvalidArgumentError(absl::StrCat(Quoted(name), ": is no setting of the trace"));
  }
  const bool off = name == kTraceLevel &&
                   std::all_of(values.begin(), values.end(),
                               [](const std::string& value) { return value == kTraceOff; });
  if (off || values.empty()) return absl::OkStatus();
  return absl::UnimplementedError(
      absl::StrCat(Quoted(name), ": this server does not trace requests; trace_level stays OFF"));
}

}  // namespace millrace
