// Texts put together from std::string_view and numbers.
//
// Purpose: sentences and JSON. Debian's Abseil has a string_view of its own, and its StrCat takes
// no
//   other. Who may call: any thread. Nothing fails.
#pragma once

#include <charconv>
#include <concepts>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace millrace::http {

inline void AppendPart(std::string* out, std::string_view part) { out->append(part); }
template <std::integral T>
void AppendPart(std::string* out, T number) {
  char digits[24];  // an int64_t has at most 20 characters
  out->append(digits, std::to_chars(digits, digits + sizeof(digits), number).ptr);
}

template <typename... Parts>
void Append(std::string* out, const Parts&... parts) {
  (AppendPart(out, parts), ...);
}

template <typename... Parts>
std::string Concat(const Parts&... parts) {
  std::string text;
  Append(&text, parts...);
  return text;
}

// "[2,13]"
inline std::string ShapeText(absl::Span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) Append(&text, i == 0 ? "" : ",", shape[i]);
  text.push_back(']');
  return text;
}

template <typename... Parts>
absl::Status BadInput(const Parts&... parts) {
  return absl::InvalidArgumentError(Concat(parts...));
}

inline std::string_view Message(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

inline absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace millrace::http
