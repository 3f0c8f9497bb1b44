// What both protocols say of the server and of its administration, in one place.
//
// Purpose: the same words, states and refusals over gRPC and HTTP. Who may call: the frontend's
//   thread; nothing is kept. Invariants:
//   1. Nothing that a client sends becomes a path: a model's name is checked, a setting that names
//   a
//      file is refused.
//   2. An answer names no file of this machine and no reason of a failed version that could.
// What fails: each check, with the status and sentence for the client.
#pragma once

#include <stdint.h>

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "services/ingress/frontend.h"

namespace millrace {

// Extensions of the protocol that both sides implement as a whole; HTTP adds binary_tensor_data.
absl::Span<const std::string_view> ServedExtensions();

// One version of the repository.
struct IndexEntry {
  std::string name;
  std::string version;      // empty: of an unloaded model
  std::string_view state;   // "READY" or "UNAVAILABLE"
  std::string_view reason;  // empty for READY
};

// Every version of the catalog, also what cannot be served and what was unloaded; `draining`:
// nothing is ready. A null catalog: nothing.
std::vector<IndexEntry> IndexOf(const Frontend& frontend, const Catalog* catalog, bool draining,
                                bool only_ready);

// 1 to 128 of [A-Za-z0-9_.-], not beginning with a dot, no "..".
absl::Status CheckModelName(std::string_view name);

// A parameter of Load or Unload: which are known, and which is a model smuggled in. `is_bool`: the
// client sent a boolean.
absl::Status CheckChangeParameter(ModelChange::Kind kind, std::string_view key, bool is_bool);

// Statistics of the models asked for. NOT_FOUND for a name or version that is not served now and
// never was.
absl::Status FindStatistics(const Frontend& frontend, std::string_view model,
                            std::string_view version, std::vector<ModelStatistic>* out);
// The size of its compiled form; 0: it is not served now, or is an ensemble.
uint64_t PlanBytesOf(const Catalog* catalog, const ModelStatistic& statistic);

// What is set. `value` is what a client may also send.
struct LogSetting {
  std::string_view name;
  std::variant<bool, uint32_t, std::string_view> value;
};
absl::Span<const LogSetting> LogSettingsNow();
// OK where it is set so already.
absl::Status CheckLogSetting(std::string_view name,
                             const std::variant<bool, uint32_t, std::string>& value);

// The one trace setting: {"trace_level": ["OFF"]}.
inline constexpr std::string_view kTraceLevel = "trace_level";
inline constexpr std::string_view kTraceOff = "OFF";
// `values` empty: reset to the default, which is OFF.
absl::Status CheckTraceSetting(std::string_view name, absl::Span<const std::string> values);

}  // namespace millrace
