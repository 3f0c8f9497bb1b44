// JSON, written by hand: texts and numbers one after the other.
//
// Purpose: the little that traces need. Who may call: one thread. Nothing fails.
#pragma once

#include <stdint.h>

#include <string>
#include <string_view>

namespace millrace {

class JsonText {
 public:
  // Begins a value in an array or object; the comma is put where one is needed.
  JsonText& Open(char bracket) {
    Comma();
    text_ += bracket;
    first_ = true;
    return *this;
  }
  JsonText& Close(char bracket) {
    text_ += bracket;
    first_ = false;
    return *this;
  }
  JsonText& Key(std::string_view key) {
    Comma();
    Quote(key);
    text_ += ':';
    first_ = true;  // no comma before the value
    return *this;
  }
  JsonText& String(std::string_view text) {
    Comma();
    Quote(text);
    return *this;
  }
  JsonText& Number(int64_t number) {
    Comma();
    text_ += std::to_string(number);
    return *this;
  }
  // As proto3's JSON has 64 bits.
  JsonText& NumberAsString(int64_t number) { return String(std::to_string(number)); }
  std::string Take() { return std::move(text_); }

 private:
  void Comma() {
    if (!first_) text_ += ',';
    first_ = false;
  }
  void Quote(std::string_view text) {
    constexpr char kHex[] = "0123456789abcdef";
    text_ += '"';
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        text_ += '\\';
        text_ += c;
      } else if (byte < 0x20) {
        text_ += "\\u00";
        text_ += kHex[byte >> 4];
        text_ += kHex[byte & 15];
      } else {
        text_ += c;
      }
    }
    text_ += '"';
  }

  std::string text_;
  bool first_ = true;
};

}  // namespace millrace
