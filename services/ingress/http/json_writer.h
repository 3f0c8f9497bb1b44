// The few things an answer's JSON is made of.
//
// Purpose: append numbers and strings to a text without a tree in between. Who may call: any
// thread. Invariants:
//   1. A float or double is written with the fewest digits that read back as the same value.
//   2. NaN and infinities have no JSON form and are written as null; a client that must tell them
//      apart asks for binary data.
//   3. A string is always valid JSON and valid UTF-8: bytes that are not UTF-8 become U+FFFD.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <string>
#include <string_view>

namespace millrace::http {

void AppendJsonString(std::string_view text, std::string* out);
void AppendJsonNumber(float value, std::string* out);
void AppendJsonNumber(double value, std::string* out);
void AppendJsonNumber(int64_t value, std::string* out);
void AppendJsonNumber(uint64_t value, std::string* out);

// A name from outside, quoted for a message: cut at 64 bytes.
std::string Quoted(std::string_view name);

// {"error":"..."}
std::string JsonError(std::string_view sentence);

}  // namespace millrace::http
