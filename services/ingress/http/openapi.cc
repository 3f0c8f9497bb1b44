#include "services/ingress/http/openapi.h"

#include <stdint.h>

#include <string>

namespace millrace::http {
namespace {

constexpr std::string_view kText =
#include "services/ingress/http/openapi.inc"
    ;

// FNV-1a, 64 bits: it tells versions of one document apart and protects nothing.
std::string Tag(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  std::string tag = "W/\"";
  for (int shift = 60; shift >= 0; shift -= 4)
    tag.push_back("0123456789abcdef"[hash >> shift & 15]);
  return tag + "\"";
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::string_view OpenApiText() { return kText; }

std::string_view OpenApiTag() {
  static const std::string* const tag = new std::string(Tag(kText));
  return *tag;
}

bool HasOpenApi(std::string_view if_none_match) {
  if (Trimmed(if_none_match) == "*") return true;
  while (!if_none_match.empty()) {
    const size_t comma = if_none_match.find(',');
    std::string_view tag = Trimmed(if_none_match.substr(0, comma));
    // The weak comparison, which is this field's.
    if (tag.starts_with("W/")) tag.remove_prefix(2);
    if (tag == OpenApiTag().substr(2)) return true;
    if (comma == std::string_view::npos) return false;
    if_none_match.remove_prefix(comma + 1);
  }
  return false;
}

}  // namespace millrace::http
