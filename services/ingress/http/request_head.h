// What the header of a request says that this server acts upon.
//
// Purpose: one place that reads header fields, and refuses what must not go on to a body.
// Who may call: the connection's thread, once the header is parsed.
// Invariants: 1. a message whose end is not certain (a transfer coding other than chunked) is
//   refused, so that no byte of a body is ever taken for the next request.
// What fails: a HeadFault with its HTTP code; code 0 is none.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <boost/beast/http/parser.hpp>
#include <memory_resource>
#include <optional>
#include <string>
#include <utility>

#include "services/ingress/frontend.h"
#include "services/ingress/http/body.h"
#include "services/ingress/http/content_coding.h"
#include "services/ingress/http/route.h"

namespace millrace::http {

// Whoever makes one names the memory of its fields.
using FieldAllocator = std::pmr::polymorphic_allocator<char>;
using Parser = boost::beast::http::request_parser<PaddedBody, FieldAllocator>;

struct RequestHead {
  Route route;
  bool posted = false;
  bool head_only = false;   // HEAD: the answer has no body
  bool keep_alive = false;  // what the client wants
  bool http10 = false;      // keep-alive must then be said
  bool expects_continue = false;
  Coding coding = Coding::kIdentity;  // of the body
  bool accepts_gzip = false;
  bool unchanged = false;            // GET /openapi.json: the client has it (If-None-Match)
  std::optional<size_t> json_bytes;  // Inference-Header-Content-Length
  int64_t timeout_us = 0;            // X-Request-Timeout-Ms; 0: none
  std::string_view prefix = {};      // of the path, before /v1 or /v2: some route goes by it

  // Keeps the capacity of the names, but of no longer one than clients mostly use.
  void Clear() {
    constexpr size_t kKeptNameBytes = 256;
    Route names = std::move(route);
    *this = RequestHead();
    for (std::string* name : {&names.model, &names.version, &names.region}) {
      if (name->capacity() > kKeptNameBytes) std::string().swap(*name);
    }
    route = std::move(names);
    route.Clear();
  }
};

struct HeadFault {
  int code = 0;
  std::string sentence;
  std::string_view fields;  // of the answer, each with its line end
};

// `frontend`: whose routes know prefixes of paths; null: there are none.
HeadFault ReadHead(const Parser& parser, RequestHead* head, const Frontend* frontend = nullptr);

// The API key that is shown: as `Authorization: Bearer KEY`, else as X-API-Key; empty: none. A view
// of the parser.
std::string_view ReadKey(const Parser& parser);

// The trace that the client names. Views of the parser.
TraceEntry ReadTrace(const Parser& parser, int64_t arrival_ns);
// What of its `tracestate` can stand in the answer.
std::string_view ReadTraceState(const Parser& parser);

// The fields as routes ask for them.
class FieldsOf final : public RequestHeaders {
 public:
  explicit FieldsOf(const Parser& parser) : parser_(parser) {}
  std::string_view Find(std::string_view name) const override;

 private:
  const Parser& parser_;
};

// The fault on purpose that is asked for (millrace-fault); empty: none. A view of the parser.
std::string_view FaultHeader(const Parser& parser);

}  // namespace millrace::http
