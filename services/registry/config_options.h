// Triton's options that Millrace does not have: which are left unused, and what is said of others.
//
// Purpose: one table decides it (TRITON.md is its text for people). An option that only says how to
//   be fast, or what to show, changes no answer and is left unused, with a warning; any other is
//   refused. Who may call: any thread. Nothing fails.
#pragma once

#include <string>
#include <string_view>

namespace millrace {

// Of a field of a message ("ModelConfig", "optimization").
struct ConfigOption {
  bool may_be_unused = false;
  const char* why = "";  // of what is unused; or what to do instead, empty: nothing is known
};

ConfigOption OptionOf(std::string_view message, std::string_view field);

}  // namespace millrace
