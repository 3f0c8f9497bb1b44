#include "services/ingress/http/json_writer.h"

#include <charconv>
#include <cmath>

#include "common/check.h"

namespace millrace::http {
namespace {

template <typename T>
void AppendNumber(T value, std::string* out) {
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof(text), value);
  MR_CHECK(error == std::errc(), "32 characters hold any number");
  out->append(text, end);
}

template <typename T>
void AppendReal(T value, std::string* out) {
  if (!std::isfinite(value)) {
    out->append("null");
  } else if (value == 0 && std::signbit(value)) {
    out->append("-0.0");  // "-0" is an integer to many readers, which lose the sign
  } else {
    AppendNumber(value, out);
  }
}

// Bytes of the well-formed UTF-8 character that `text` begins with; 0 where there is none.
size_t CharacterSize(std::string_view text) {
  const auto at = [&](size_t i) -> uint8_t { return i < text.size() ? text[i] : 0; };
  const auto tail = [&](size_t i) { return (at(i) & 0xC0) == 0x80; };
  const uint8_t lead = at(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2) return 0;
  if (lead < 0xE0) return tail(1) ? 2 : 0;
  if (lead < 0xF0) {
    if (lead == 0xE0 && at(1) < 0xA0) return 0;   // overlong
    if (lead == 0xED && at(1) >= 0xA0) return 0;  // surrogates
    return tail(1) && tail(2) ? 3 : 0;
  }
  if (lead > 0xF4) return 0;
  if (lead == 0xF0 && at(1) < 0x90) return 0;   // overlong
  if (lead == 0xF4 && at(1) >= 0x90) return 0;  // past U+10FFFF
  return tail(1) && tail(2) && tail(3) ? 4 : 0;
}

void AppendEscape(char c, std::string* out) {
  static constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"':
      out->append("\\\"");
      return;
    case '\\':
      out->append("\\\\");
      return;
    case '\n':
      out->append("\\n");
      return;
    case '\r':
      out->append("\\r");
      return;
    case '\t':
      out->append("\\t");
      return;
    default:
      out->append("\\u00");
      out->push_back(kHex[(c >> 4) & 0xF]);
      out->push_back(kHex[c & 0xF]);
  }
}

}  // namespace

void AppendJsonString(std::string_view text, std::string* out) {
  out->push_back('"');
  while (!text.empty()) {
    const char c = text[0];
    size_t size = CharacterSize(text);
    if (size == 0) {
      out->append("\xEF\xBF\xBD");
      size = 1;
    } else if (c == '"' || c == '\\' || (c >= 0 && c < 0x20) || c == 0x7F) {
      AppendEscape(c, out);
    } else {
      out->append(text.substr(0, size));
    }
    text.remove_prefix(size);
  }
  out->push_back('"');
}

void AppendJsonNumber(float value, std::string* out) { AppendReal(value, out); }
void AppendJsonNumber(double value, std::string* out) { AppendReal(value, out); }
void AppendJsonNumber(int64_t value, std::string* out) { AppendNumber(value, out); }
void AppendJsonNumber(uint64_t value, std::string* out) { AppendNumber(value, out); }

std::string Quoted(std::string_view name) {
  constexpr size_t kLongest = 64;
  std::string text = "\"";
  text.append(name.substr(0, kLongest));
  text.append(name.size() > kLongest ? "...\"" : "\"");
  return text;
}

std::string JsonError(std::string_view sentence) {
  std::string text = "{\"error\":";
  AppendJsonString(sentence, &text);
  text.push_back('}');
  return text;
}

}  // namespace millrace::http
