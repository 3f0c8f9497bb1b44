// Bodies for tests, as the HTTP parser leaves them.
#pragma once

#include <string>
#include <string_view>

#include "services/ingress/http/body.h"

namespace millrace::http {

// The padding holds closing brackets: the reader must not be fooled by what follows the text.
inline std::string Padded(std::string_view text) {
  std::string body(text);
  body.append(kBodyPadding, '}');
  body.resize(text.size());
  return body;
}

// The bytes of a number, little-endian.
template <typename T>
std::string Bytes(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}
template <typename T, typename... Rest>
std::string Bytes(T value, Rest... rest) {
  return Bytes(value) + Bytes(rest...);
}

// One BYTES element.
inline std::string Element(std::string_view text) {
  return Bytes(static_cast<uint32_t>(text.size())) + std::string(text);
}

}  // namespace millrace::http
