#include "services/ingress/http/request_head.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "common/check.h"
#include "services/ingress/access/access.h"
#include "services/ingress/http/openapi.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

namespace beast_http = boost::beast::http;

constexpr std::string_view kJsonLength = "Inference-Header-Content-Length";
constexpr std::string_view kApiKey = "X-API-Key";
constexpr std::string_view kFault = "millrace-fault";
constexpr std::string_view kTimeout = "X-Request-Timeout-Ms";
constexpr int64_t kLongestTimeoutMs = int64_t{1} << 40;  // 34 years

template <typename Key>
std::string_view Get(const Parser& parser, Key key) {
  const auto value = parser.get()[key];
  return {value.data(), value.size()};
}

boost::beast::string_view Name(std::string_view name) { return {name.data(), name.size()}; }

bool SameWord(std::string_view a, std::string_view b) {
  return boost::beast::iequals(Name(a), Name(b));
}

// Absent is fine and leaves `out`.
bool ReadNumber(std::string_view text, int64_t most, std::optional<int64_t>* out) {
  if (text.empty()) return true;
  int64_t number = 0;
  if (text[0] < '0' || text[0] > '9') return false;  // no sign, no blank
  if (!absl::SimpleAtoi(Abseil(text), &number) || number > most) return false;
  *out = number;
  return true;
}

// A path below a prefix that some route names.
void ParsePrefixed(std::string_view target, const Frontend& frontend, RequestHead* head) {
  for (size_t at = target.find("/v", 1); at != std::string_view::npos;
       at = target.find("/v", at + 1)) {
    const std::string_view rest = target.substr(at);
    if (!rest.starts_with("/v2") && !rest.starts_with("/v1")) continue;
    if (!frontend.NamesPath(target.substr(0, at))) continue;
    ParseTarget(rest, &head->route);
    if (head->route.endpoint == Endpoint::kUnknown) continue;
    head->prefix = target.substr(0, at);
    return;
  }
}

HeadFault CheckMethod(const Parser& parser, const Route& route) {
  if (route.endpoint == Endpoint::kUnknown) {
    return {404, "there is nothing at this path; see GET /v2", ""};
  }
  const auto method = parser.get().method();
  if (route.post()) {
    if (method == beast_http::verb::post) return {};
    return {405, "this path takes POST", "Allow: POST\r\n"};
  }
  if (method == beast_http::verb::get || method == beast_http::verb::head) return {};
  if (TakesPostToo(route.endpoint)) {
    if (method == beast_http::verb::post) return {};
    return {405, "this path takes GET and POST", "Allow: GET, HEAD, POST\r\n"};
  }
  return {405, "this path takes GET", "Allow: GET, HEAD\r\n"};
}

}  // namespace

HeadFault ReadHead(const Parser& parser, RequestHead* head, const Frontend* frontend) {
  MR_CHECK(parser.is_header_done(), "a header is read when it is whole");
  head->Clear();
  const auto& request = parser.get();
  head->keep_alive = parser.keep_alive();
  head->http10 = request.version() == 10;
  head->posted = request.method() == beast_http::verb::post;
  head->head_only = request.method() == beast_http::verb::head;
  const std::string_view target = {request.target().data(), request.target().size()};
  ParseTarget(target, &head->route);
  if (head->route.endpoint == Endpoint::kUnknown && frontend != nullptr) {
    ParsePrefixed(target, *frontend, head);
  }

  const std::string_view coding = Get(parser, beast_http::field::transfer_encoding);
  if (!coding.empty() && !(parser.chunked() && SameWord(coding, "chunked"))) {
    head->keep_alive = false;  // the parser saw no body, and there may be one
    return {400, "Transfer-Encoding: only chunked is supported", ""};
  }
  if (HeadFault fault = CheckMethod(parser, head->route); fault.code != 0) return fault;
  const std::optional<Coding> packed =
      ParseContentEncoding(Get(parser, beast_http::field::content_encoding));
  if (!packed.has_value() || request.count(beast_http::field::content_encoding) > 1) {
    return {415, "Content-Encoding: only gzip and deflate are supported",
            "Accept-Encoding: gzip, deflate\r\n"};
  }
  head->coding = *packed;
  head->accepts_gzip = AcceptsGzip(Get(parser, beast_http::field::accept_encoding));
  const std::string_view expect = Get(parser, beast_http::field::expect);
  head->expects_continue = SameWord(expect, "100-continue") && !head->http10;
  if (!expect.empty() && !SameWord(expect, "100-continue")) {
    return {417, "Expect: only 100-continue is supported", ""};
  }
  head->unchanged = head->route.endpoint == Endpoint::kOpenApi &&
                    HasOpenApi(Get(parser, beast_http::field::if_none_match));
  std::optional<int64_t> number;
  if (!ReadNumber(Get(parser, Name(kJsonLength)), int64_t{1} << 40, &number)) {
    return {400, Concat(kJsonLength, ": must be a number of bytes"), ""};
  }
  if (number.has_value()) head->json_bytes = static_cast<size_t>(*number);
  number.reset();
  if (!ReadNumber(Get(parser, Name(kTimeout)), kLongestTimeoutMs, &number)) {
    return {400, Concat(kTimeout, ": must be a number of milliseconds"), ""};
  }
  head->timeout_us = number.value_or(0) * 1000;
  return {};
}

std::string_view ReadKey(const Parser& parser) {
  const std::string_view key = BearerKey(Get(parser, beast_http::field::authorization));
  return key.empty() ? Get(parser, Name(kApiKey)) : key;
}

TraceEntry ReadTrace(const Parser& parser, int64_t arrival_ns) {
  TraceEntry entry;
  entry.entered_ns = arrival_ns;
  entry.method = TraceMethod::kHttpInfer;
  if (const auto parent = ParseTraceParent(Get(parser, Name(kTraceParent)))) {
    entry.parent = *parent;
    entry.state = ReadTraceState(parser);
  }
  return entry;
}

std::string_view ReadTraceState(const Parser& parser) {
  const std::string_view state = Get(parser, Name(kTraceState));
  const bool shown = std::all_of(state.begin(), state.end(),
                                 [](char c) { return c == '\t' || (c >= ' ' && c <= '~'); });
  return shown && state.size() <= kMaxTraceState ? state : std::string_view();
}

std::string_view FieldsOf::Find(std::string_view name) const { return Get(parser_, Name(name)); }

std::string_view FaultHeader(const Parser& parser) { return Get(parser, Name(kFault)); }

}  // namespace millrace::http
