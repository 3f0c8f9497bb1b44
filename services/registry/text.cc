#include "services/registry/text.h"

#include <stdint.h>
#include <stdio.h>

namespace millrace {
namespace {

constexpr size_t kMaxName = 128;
constexpr size_t kMaxPrintable = 1000;

bool IsContinuation(unsigned char c) { return (c & 0xc0) == 0x80; }

// Bytes of the character that begins with `lead`; 0 where none does. `low` and `high` bound its
// second byte (they shut out long forms, surrogates and what lies past the end).
int SequenceLength(unsigned char lead, unsigned char* low, unsigned char* high) {
  *low = 0x80;
  *high = 0xbf;
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) {
    if (lead == 0xe0) *low = 0xa0;
    if (lead == 0xed) *high = 0x9f;
    return 3;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    if (lead == 0xf0) *low = 0x90;
    if (lead == 0xf4) *high = 0x8f;
    return 4;
  }
  return 0;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    unsigned char low, high;
    const int length = SequenceLength(text[at], &low, &high);
    if (length == 0 || at + length > text.size()) return false;
    for (int i = 1; i < length; ++i) {
      const unsigned char c = text[at + i];
      if (i == 1 ? (c < low || c > high) : !IsContinuation(c)) return false;
    }
    at += length;
  }
  return true;
}

std::string Printable(std::string_view text) {
  std::string result;
  for (unsigned char c : text) {
    if (c >= ' ' && c < 0x7f) {
      result.push_back(static_cast<char>(c));
    } else {
      char escaped[5];
      snprintf(escaped, sizeof escaped, "\\x%02x", c);
      result += escaped;
    }
    if (result.size() > kMaxPrintable) {
      result.resize(kMaxPrintable - 3);
      return result + "...";
    }
  }
  return result;
}

bool IsPlainName(std::string_view name) {
  if (name.empty() || name.size() > kMaxName || name[0] == '.') return false;
  for (char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool digit = c >= '0' && c <= '9';
    if (!letter && !digit && c != '_' && c != '.' && c != '-') return false;
  }
  return true;
}

bool IsTensorName(std::string_view name) {
  if (name.empty() || name.size() > kMaxName || !IsUtf8(name)) return false;
  if (name.front() == ' ' || name.back() == ' ') return false;
  for (unsigned char c : name) {
    if (c < ' ' || c == 0x7f || c == '"' || c == '\\') return false;
  }
  return true;
}

}  // namespace millrace
