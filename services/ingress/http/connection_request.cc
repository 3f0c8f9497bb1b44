// What happens to a request that was read whole, up to its answer.
#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/clock.h"
#include "services/ingress/http/catalog_json.h"
#include "services/ingress/http/connection.h"
#include "services/ingress/http/describe.h"
#include "services/ingress/http/http_status.h"
#include "services/ingress/http/json_reader.h"
#include "services/ingress/http/json_writer.h"
#include "services/ingress/http/openapi.h"
#include "services/ingress/http/text.h"
#include "services/ingress/request_size.h"

namespace millrace::http {
namespace {

// When a request is late: the shorter of the two times; 0 where the client named none.
int64_t DeadlineNanos(int64_t arrival_ns, int64_t header_us, int64_t parameter_us) {
  constexpr int64_t kLongestMicros = 1'000'000'000'000'000;  // 31 years: the sum cannot overflow
  if (header_us == 0 && parameter_us == 0) return 0;
  int64_t us = kLongestMicros;
  if (header_us != 0) us = std::min(us, header_us);
  if (parameter_us != 0) us = std::min(us, parameter_us);
  return arrival_ns + us * kNanosPerMicro;
}

}  // namespace

bool Connection::Admit() {
  Gate& gate = context_->gate;
  const Scope scope = ScopeOf(head_.route.endpoint);
  const Shown shown = gate.AsksForKey(scope) ? Shown(ReadKey(*parser_), peer_name_) : Shown();
  const Verdict verdict = gate.Check(scope, shown, arrival_ns_);
  if (verdict.ok()) {
    tenant_.assign(verdict.owner);
    return true;
  }
  if (verdict.code == absl::StatusCode::kResourceExhausted) {
    context_->frontend->CountQuotaRefusal();
  }
  std::string fields;
  if (verdict.code == absl::StatusCode::kUnauthenticated) {
    fields = "WWW-Authenticate: Bearer realm=\"millrace\"\r\n";
  } else if (verdict.retry_after_ns > 0) {
    const int64_t seconds = (verdict.retry_after_ns + kNanosPerSecond - 1) / kNanosPerSecond;
    fields = Concat("Retry-After: ", seconds, "\r\n");
  }
  FailAndClose(HttpCode(verdict.status()), verdict.sentence, fields);
  return false;
}

void Connection::OnRequest() {
  ++context_->counters.requests;
  if (const absl::Status status = Unpack(); !status.ok()) {
    if (absl::IsOutOfRange(status)) return FailAndClose(413, Message(status));
    return Fail(status);
  }
  if (head_.route.infers()) return StartInfer();
  if (head_.route.changes()) return StartChange();
  if (head_.route.asks_routes()) return AskRoutes();
  bool only_ready = false;
  if (head_.route.endpoint == Endpoint::kIndex) {
    const absl::Status status = context_->index_parser.Parse(parser_->get().body(), &only_ready);
    if (!status.ok()) return Fail(status);
  }
  if (head_.posted && TakesPostToo(head_.route.endpoint)) {
    const absl::Status status = CheckSettings();
    if (!status.ok()) return Fail(status);
  }
  const Description answer = context_->Answer(head_.route, parser_->get().body(), only_ready);
  answer_ = {head_.unchanged ? std::string() : answer.json, "", false, ""};
  std::string fields;
  if (head_.route.endpoint == Endpoint::kOpenApi) fields = Concat("ETag: ", OpenApiTag(), "\r\n");
  Send(head_.unchanged ? 304 : answer.code, fields);
}

absl::Status Connection::CheckSettings() {
  const std::string& body = parser_->get().body();
  if (head_.route.endpoint == Endpoint::kLogging) return context_->settings_parser.CheckLog(body);
  if (head_.route.endpoint == Endpoint::kModelTraceSetting) {
    const absl::Status status = context_->frontend->ModelReady(head_.route.model, "");
    if (absl::IsNotFound(status)) return status;
  }
  return context_->settings_parser.CheckTrace(body);
}

size_t Connection::BodyLimit() const {
  const size_t most = context_->options.max_body_bytes;
  if (head_.route.asks_routes()) return std::min(most, RouteRequestParser::kMostBytes);
  if (!head_.route.infers()) return most;
  const bool plain = head_.coding == Coding::kIdentity && parser_->content_length().has_value();
  if (plain && *parser_->content_length() <= kSmallRequestBytes) return most;
  // Which of its versions answers is not known yet.
  if (head_.route.version.empty() && context_->frontend->IsRouted(head_.route.model)) return most;
  const std::shared_ptr<const Catalog> catalog = context_->frontend->catalog();
  // A model that is not there is refused when the request is there.
  const absl::StatusOr<const Model*> model =
      FindModel(catalog.get(), head_.route.model, head_.route.version);
  return model.ok() ? MostBodyBytes(**model, most) : most;
}

absl::Status Connection::Unpack() {
  std::string& body = parser_->get().body();
  if (head_.coding == Coding::kIdentity || !head_.posted || body.empty()) {
    return absl::OkStatus();
  }
  std::string unpacked;
  absl::Status status = context_->unpacker.Unpack(head_.coding, body, body_limit_, &unpacked);
  if (status.ok()) body.swap(unpacked);
  return status;
}

Routed Connection::Resolve(std::string_view client_key, std::string_view id) const {
  const FieldsOf fields(*parser_);
  RouteQuestion question = {
      head_.route.model, head_.route.version, head_.prefix, tenant_, client_key, id, &fields};
  return context_->frontend->Resolve(question);
}

absl::Status Connection::Parse(const Catalog* catalog, Routed* routed) {
  const std::string& body = parser_->get().body();
  // A request without a body has a string without padding, too.
  if (body.empty()) return absl::InvalidArgumentError("the body is empty");
  ParsedInfer* const parsed = &context_->parsed;
  if (head_.route.endpoint == Endpoint::kInfer && head_.json_bytes != 0) {
    const absl::Status status = context_->infer_parser.Parse(body, head_.json_bytes, parsed);
    if (status.ok()) *routed = Resolve(parsed->client_key, parsed->form.id);
    return status;
  }
  // These are read by the model's signature.
  *routed = Resolve({}, {});
  const absl::StatusOr<const Model*> model = FindModel(catalog, routed->model, routed->version);
  if (!model.ok()) return model.status();
  if (head_.route.endpoint == Endpoint::kInfer) {
    return context_->infer_parser.ParseRaw(body, **model, &context_->parsed);
  }
  return context_->predict_parser.Parse(body, **model, &context_->parsed);
}

absl::Status Connection::BindClasses(std::shared_ptr<const Catalog> catalog, const Routed& routed) {
  InferRequest request;
  request.model = routed.model;
  request.version = routed.version;
  request.outputs = context_->parsed.outputs;
  size_t output = 0;
  const absl::Status status =
      context_->parsed.form.classes.Bind(std::move(catalog), request, &output);
  if (status.ok()) return status;
  context_->parsed.form.classes.Clear();
  return FieldFault({"outputs", output, "parameters.classification"}, Message(status));
}

void Connection::StartInfer() {
  const std::shared_ptr<const Catalog> catalog = context_->frontend->catalog();
  Routed routed;
  absl::Status status = Parse(catalog.get(), &routed);
  if (status.ok() && !context_->parsed.form.classes.empty()) status = BindClasses(catalog, routed);
  if (!status.ok()) return Fail(status);
  ParsedInfer& parsed = context_->parsed;
  std::swap(form_, parsed.form);
  parsed.form.Clear();  // an earlier answer's; it may hold a region open
  const int64_t deadline_ns = DeadlineNanos(arrival_ns_, head_.timeout_us, parsed.timeout_us);
  Enter(State::kInFlight, kNever);
  ++context_->in_flight;
  id_ = 0;
  const RequestId id = context_->frontend->Infer(
      {routed.model, routed.version, parsed.inputs, parsed.outputs, deadline_ns, parsed.priority,
       form_.id, FaultHeader(*parser_),
       context_->frontend->Traces() ? ReadTrace(*parser_, arrival_ns_) : TraceEntry(), routed.use},
      this);
  if (state_ == State::kInFlight) {
    MR_CHECK(id != 0, "a request that is not answered has a name");
    id_ = id;
  }
  // What the frontend needed it has copied; from here on the request holds no body.
  Shrink(&parser_->get().body());
  Discharge();
}

void Connection::Done(const InferAnswer& answer) {
  MR_CHECK(state_ == State::kInFlight || state_ == State::kAbandoned, "Done is called once");
  --context_->in_flight;
  if (state_ == State::kAbandoned) {
    state_ = State::kClosed;
    ++context_->closed;
    return;
  }
  // From here on Close is final: nothing is with the frontend any more.
  Enter(State::kWriting, context_->options.write_timeout_ms);
  told_ = answer.trace;
  Guarded([&] {
    absl::Status status = answer.status;
    if (status.ok() && form_.classes.empty()) {
      status = WriteAnswer(answer, form_, &answer_);
    } else if (status.ok()) {
      const InferAnswer turned = context_->classifier.Apply(answer, form_.classes);
      status = turned.status.ok() ? WriteAnswer(turned, form_, &answer_) : turned.status;
      form_.classes.Clear();  // an idle connection keeps no catalog
    }
    if (status.ok()) return Send(200);
    if (answer.retry_after_ms <= 0) return Fail(status);
    answer_ = {JsonError(Message(status)), "", false, ""};
    const int64_t seconds = (answer.retry_after_ms + 999) / 1000;
    Send(HttpCode(status), Concat("Retry-After: ", seconds, "\r\n"));
  });
}

void Connection::Fail(const absl::Status& status) {
  answer_ = {JsonError(Message(status)), "", false, ""};
  Send(HttpCode(status));
}

void Connection::FailAndClose(int code, std::string_view sentence, std::string_view fields) {
  // A request that was read whole leaves the connection in order.
  if (!parser_.has_value() || !parser_->is_done()) close_after_ = true;
  if (parser_.has_value()) Shrink(&parser_->get().body());
  Discharge();
  answer_ = {JsonError(sentence), "", false, ""};
  Send(code, fields);
}

void Connection::AppendTraceFields() {
  char parent[kTraceParentBytes];
  WriteTraceParent(std::exchange(told_, TraceContext()), parent);
  Append(&response_head_, "traceparent: ", std::string_view(parent, sizeof parent), "\r\n");
  const std::string_view state = ReadTraceState(*parser_);
  if (!state.empty()) Append(&response_head_, "tracestate: ", state, "\r\n");
}

// Packs the body where that is asked for and worth it, and says what it is. A 304 has no body.
void Connection::AppendEntityFields() {
  const size_t json_bytes = answer_.json.size();
  const size_t bytes = json_bytes + answer_.binary.size();
  const HttpOptions& options = context_->options;
  if (bytes >= options.compress_from_bytes && bytes <= options.compress_to_bytes) {
    Append(&response_head_, "Vary: Accept-Encoding\r\n");
    std::string packed;
    if (head_.accepts_gzip && context_->packer.Pack(answer_.json, answer_.binary, &packed)) {
      Append(&response_head_, "Content-Encoding: gzip\r\n");
      answer_.json.swap(packed);
      answer_.binary.clear();
    }
  }
  Append(&response_head_, "Content-Length: ", answer_.json.size() + answer_.binary.size(),
         "\r\nContent-Type: ", answer_.has_binary ? "application/octet-stream" : "application/json",
         "\r\n");
  if (answer_.has_binary) {
    Append(&response_head_, "Inference-Header-Content-Length: ", json_bytes, "\r\n");
  }
}

}  // namespace millrace::http
