// What the texts of a configuration may be (config_schema.h).
#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "common/config_schema.h"
#include "common/cpu_list.h"
#include "common/otlp_endpoint.h"

namespace millrace {
namespace {

constexpr size_t kMaxSocketPath = 107;  // of sockaddr_un, less its end

bool IsPort(std::string_view text) {
  int64_t port = 0;
  if (text.empty() || text.size() > 5) return false;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
  }
  return absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &port) && port <= 65535;
}

std::string UidsFault(std::string_view text) {
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    uint32_t uid = 0;
    if (!absl::SimpleAtoi(absl::string_view(text.data(), comma), &uid)) {
      return "must be numbers of users with commas between them";
    }
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return "";
}

std::string KeysFault(std::string_view text) {
  constexpr size_t kDigits = 64;
  while (!text.empty()) {
    const std::string_view key = text.substr(0, text.find(','));
    if (key.size() != kDigits ||
        key.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
      return "must be keys of 64 hexadecimal digits (0-9, a-f) with commas between them";
    }
    text.remove_prefix(std::min(key.size() + 1, text.size()));
  }
  return "";
}

// "auto, spin, yield or park".
std::string Either(absl::Span<const std::string_view> choices) {
  std::string text;
  for (size_t i = 0; i < choices.size(); ++i) {
    text += i == 0 ? "" : i + 1 < choices.size() ? ", " : " or ";
    text += choices[i];
  }
  return text;
}

std::string WebhookFault(std::string_view text) {
  if (text.empty()) return "";
  const absl::StatusOr<OtlpEndpoint> parsed = OtlpEndpoint::Parse(text);
  if (parsed.ok() && !parsed->grpc) return "";
  const bool scheme = parsed.ok() || text.substr(0, 7) != "http://";
  return scheme ? "must be http://host:port/path" : std::string(parsed.status().message());
}

}  // namespace

std::string TextFault(const ConfigField& field, std::string_view text) {
  switch (field.rule) {
    case TextRule::kPath:
      return text.empty() ? "may not be empty" : "";
    case TextRule::kListen:
      return std::string(ListenFault(text));
    case TextRule::kUnixListen:
      if (!text.empty() && text.rfind("unix:", 0) != 0) return "must be unix:/path";
      return std::string(ListenFault(text));
    case TextRule::kUser:
      return text.find_first_of(" :/\n") == std::string_view::npos ? "" : "must be a user's name";
    case TextRule::kUids:
      return UidsFault(text);
    case TextRule::kOtlp:
      return text.empty() ? "" : std::string(OtlpEndpoint::Parse(text).status().message());
    case TextRule::kWebhook:
      return WebhookFault(text);
    case TextRule::kPublicKeys:
      return KeysFault(text);
    case TextRule::kCpus:
      return std::string(ParseCpuList(text).status().message());
    case TextRule::kChoice:
      if (std::find(field.choices.begin(), field.choices.end(), text) != field.choices.end())
        return "";
      return "must be " + Either(field.choices);
    case TextRule::kPrefixes:
      return text.find('/') == std::string_view::npos ? "" : "may not hold a /";
    case TextRule::kOptionalPath:
    case TextRule::kFaultRules:
    case TextRule::kNone:
      break;
  }
  return "";
}

bool IsLocalListen(std::string_view text) {
  if (text.empty() || text.substr(0, 5) == "unix:") return true;
  const std::string host(text.substr(0, text.rfind(':')));
  in_addr ip;
  // Numbers only: "127.example.com" is a name, and may lead anywhere.
  if (inet_pton(AF_INET, host.c_str(), &ip) == 1) return ntohl(ip.s_addr) >> 24 == 127;
  return host == "localhost" || host == "[::1]";
}

std::string_view ListenFault(std::string_view text) {
  if (text.empty()) return "";
  constexpr std::string_view kUnix = "unix:";
  if (text.substr(0, kUnix.size()) == kUnix) {
    const std::string_view path = text.substr(kUnix.size());
    if (path.empty() || path[0] != '/') return "a Unix socket is written unix:/path";
    if (path.size() > kMaxSocketPath) return "the path of a Unix socket has at most 107 bytes";
    return "";
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return "must be host:port or unix:/path";
  const std::string_view host = text.substr(0, colon);
  if (host.find(':') != std::string_view::npos && (host.front() != '[' || host.back() != ']')) {
    return "an IPv6 address is written [address]:port";
  }
  if (!IsPort(text.substr(colon + 1))) return "the port must be a number from 0 to 65535";
  return "";
}

}  // namespace millrace
