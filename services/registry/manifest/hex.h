// Bytes as lower-case hexadecimal digits, and back. Who may call: any thread.
// What fails: FromHex gives nothing for anything but an even number of such digits.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace {

std::string ToHex(std::string_view bytes);
std::optional<std::string> FromHex(std::string_view digits);

}  // namespace millrace
