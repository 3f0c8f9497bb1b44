// The one table of the configuration's fields.
//
// Purpose: what a field is called, what it may be and what it means is said here and nowhere else;
//   the parser, the reference page and the tests are loops over this table.
// Who may call: any thread; the table never changes.
// Invariants: 1. every member of Config stands in exactly one row. 2. rows of one section are
//   neighbours. 3. the default of each field lies within its bounds (a test holds all three).
#pragma once

#include <stdint.h>

#include <array>
#include <string>
#include <string_view>
#include <variant>

#include "absl/types/span.h"
#include "common/config.h"

namespace millrace {

enum class TextRule : uint8_t {
  kNone,          // not a text
  kPath,          // may not be empty
  kOptionalPath,  // empty: chosen by the server
  kListen,        // "host:port", "unix:/path" or empty
  kUnixListen,    // "unix:/path" or empty
  kUser,          // a user's name, or empty
  kUids,          // "1000,1001" or empty
  kCpus,          // "0-1,4", or empty
  kPrefixes,      // "a_,b_", without a slash, or empty
  kOtlp,          // common/otlp_endpoint.h, or empty
  kWebhook,       // "http://host:port/path", or empty
  kPublicKeys,    // 64 hexadecimal digits each, comma-separated, or empty
  kFaultRules,    // a list of maps, or its text (common/fault_rule.h)
  kChoice,        // one of the field's choices
};

struct ConfigField {
  std::string_view section;  // empty: at the top of the file
  std::string_view name;
  std::variant<int64_t Config::*, std::string Config::*> member;
  int64_t min = 0;  // of an integer
  int64_t max = 0;
  TextRule rule = TextRule::kNone;
  std::string_view sentence;
  absl::Span<const std::string_view> choices = {};  // of kChoice

  bool IsInteger() const { return member.index() == 0; }
  std::string FullName() const;  // "ingress.grpc_listen"
};

// What `supervisor.wait` may be.
inline constexpr std::array<std::string_view, 4> kWaitChoices = {"auto", "spin", "yield", "park"};
// What `execution.device` may be.
inline constexpr std::array<std::string_view, 3> kDeviceChoices = {"auto", "cpu", "cuda"};
inline constexpr std::array<std::string_view, 3> kHugePageChoices = {"off", "try", "require"};
// What `registry.manifest` may be.
inline constexpr std::array<std::string_view, 3> kManifestChoices = {"off", "accept", "require"};
// What `registry.watch` may be.
inline constexpr std::array<std::string_view, 4> kWatchChoices = {"off", "auto", "inotify", "poll"};
// What `execution.over_budget` may be.
inline constexpr std::array<std::string_view, 2> kOverBudgetChoices = {"refuse", "evict_idle"};
inline constexpr std::array<std::string_view, 2> kSwitchChoices = {"false", "true"};

absl::Span<const ConfigField> ConfigSchema();

// What each section is about, for the reference page; empty for one that no field names.
std::string_view ConfigSectionSentence(std::string_view section);

// Says what is wrong with `text` as the value of that field; empty: nothing is.
std::string TextFault(const ConfigField& field, std::string_view text);

// Whether only this machine reaches that address: empty, a Unix socket, 127.*, [::1], localhost.
bool IsLocalListen(std::string_view text);

// Says what is wrong with `text` as the value of a listening address; empty: nothing is.
std::string_view ListenFault(std::string_view text);

}  // namespace millrace
