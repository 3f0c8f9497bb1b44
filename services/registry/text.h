// Text from outside, made fit for messages and for the catalog.
//
// Purpose: names, reasons and labels end up in protobuf strings, logs and answers to clients.
// Who may call: any thread. Nothing fails.
#pragma once

#include <string>
#include <string_view>

#include "absl/strings/string_view.h"

namespace millrace {

// Abseil as Debian builds it has a string_view of its own.
inline absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

// Whether these bytes are UTF-8: shortest forms, no surrogates, nothing past U+10FFFF.
bool IsUtf8(std::string_view text);

// Every byte that is not printable ASCII as \xNN; cut to 1000 bytes.
std::string Printable(std::string_view text);

// A model's or a view's name, a file's name: 1 to 128 of [A-Za-z0-9_.-], not starting with a dot.
bool IsPlainName(std::string_view name);

// A tensor's or a column's name: 1 to 128 bytes of UTF-8 without blanks at its ends, control bytes,
// quotes and backslashes.
bool IsTensorName(std::string_view name);

}  // namespace millrace
