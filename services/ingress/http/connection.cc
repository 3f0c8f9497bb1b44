#include "services/ingress/http/connection.h"

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <tuple>
#include <utility>

#include "common/check.h"
#include "common/clock.h"
#include "services/ingress/http/http_status.h"
#include "services/ingress/http/json_writer.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

using boost::system::error_code;
namespace beast_http = boost::beast::http;

// Bytes of later requests that are taken in while one is in flight.
constexpr size_t kPipelineBytes = 16 << 10;
// Capacity an idle connection may keep.
constexpr size_t kKeepBytes = 64 << 10;

}  // namespace

Connection::Connection(ServerContext* context, Socket socket, boost::asio::ssl::context* tls)
    : context_(context),
      wire_(std::move(socket), tls),
      buffer_(context->options.max_header_bytes + kPipelineBytes + Wire::kReadBytes) {}

Connection::~Connection() {
  MR_CHECK(state_ != State::kInFlight && state_ != State::kAbandoned,
           "the frontend still holds this completion");
}

void Connection::Enter(State state, int64_t limit_ms) {
  MR_CHECK(state_ != State::kClosed, "a closed connection stays closed");
  state_ = state;
  limit_ns_ = limit_ms == kNever ? kNever : MonotonicNanos() + limit_ms * kNanosPerMilli;
}

void Connection::Start() {
  Guarded([this] {
    if (!wire_.secure()) {
      Enter(State::kIdle, context_->options.idle_timeout_ms);
      return ReadMore();
    }
    Enter(State::kIdle, context_->options.header_timeout_ms);
    reading_ = true;
    wire_.Handshake([self = shared_from_this()](error_code error) {
      self->Guarded([&] { self->OnHandshake(error); });
    });
  });
}

void Connection::OnHandshake(error_code error) {
  reading_ = false;
  if (state_ == State::kClosed) return;
  if (error) {
    ++context_->counters.failed_handshakes;
    return Close();
  }
  peer_name_ = wire_.PeerName();
  const HttpOptions& options = context_->options;
  Enter(State::kIdle, refused_             ? options.linger_ms
                      : context_->draining ? options.drain_idle_ms
                                           : options.idle_timeout_ms);
  ReadMore();
}

void Connection::Sweep(int64_t now_ns) {
  // While its buffer is full nothing is read that could tell.
  if (Busy() && !reading_ && !peer_ended_ && wire_.PeerLeft()) {
    return Guarded([this] { EndOfPeer(); });
  }
  if (now_ns < limit_ns_) return;
  Guarded([this] {
    ++context_->counters.timeouts;
    if (state_ == State::kHeader) return FailAndClose(408, "the header took too long");
    if (state_ == State::kBody) return FailAndClose(408, "the body took too long");
    Close();
  });
}

void Connection::Abort() {
  Guarded([this] { Close(); });
}

void Connection::Drain() {
  if (state_ != State::kIdle) return;
  Guarded([this] { Enter(State::kIdle, context_->options.drain_idle_ms); });
}

bool Connection::Busy() const {
  return state_ == State::kInFlight || state_ == State::kChanging || state_ == State::kWriting;
}

void Connection::EndOfPeer() {
  peer_ended_ = true;
  // An answer on its way is still written; the client may read it.
  if (state_ != State::kWriting) Close();
}

void Connection::ReadMore() {
  if (reading_ || peer_ended_ || state_ == State::kClosed || state_ == State::kAbandoned) return;
  if (Busy() && buffer_.size() >= kPipelineBytes) return;
  reading_ = true;
  wire_.Read([self = shared_from_this()](error_code error, size_t bytes) {
    self->Guarded([&] { self->OnRead(error, bytes); });
  });
}

void Connection::OnRead(error_code error, size_t bytes) {
  reading_ = false;
  if (state_ == State::kClosed || state_ == State::kAbandoned) return;
  if (error) return EndOfPeer();
  if (state_ != State::kLingering) {
    buffer_.commit(boost::asio::buffer_copy(buffer_.prepare(bytes), wire_.received(bytes)));
    Advance();
  }
  ReadMore();
}

void Connection::Advance() {
  while (buffer_.size() > 0 &&
         (state_ == State::kIdle || state_ == State::kHeader || state_ == State::kBody)) {
    if (state_ == State::kIdle) {
      parser_.emplace(std::piecewise_construct, std::make_tuple(),
                      std::make_tuple(FieldAllocator(&field_memory_)));
      parser_->header_limit(static_cast<uint32_t>(context_->options.max_header_bytes));
      body_limit_ = context_->options.max_body_bytes;
      parser_->body_limit(body_limit_);
      parser_->get().body() = std::move(body_);
      head_.Clear();
      Enter(State::kHeader, context_->options.header_timeout_ms);
    }
    error_code error;
    const size_t taken = parser_->put(buffer_.data(), error);
    buffer_.consume(taken);
    if (error && error != beast_http::error::need_more) return OnParseFault(error);
    if (error && taken == 0) {
      // More than a header's worth that is no header, chunk or trailer yet.
      const bool endless = buffer_.size() >= context_->options.max_header_bytes;
      if (endless) FailAndClose(431, "a header, chunk extension or trailer is too long");
      return;
    }
    if (state_ == State::kHeader && parser_->is_header_done() && !OnHeader()) return;
    if (parser_->is_done()) return OnRequest();
    // A body with a length was charged at once, a chunked one as it grows.
    if (!Charge(std::max(charged_, parser_->get().body().capacity()))) return;
  }
}

bool Connection::OnHeader() {
  Enter(State::kBody, context_->options.body_timeout_ms);
  arrival_ns_ = MonotonicNanos();
  if (refused_) {
    FailAndClose(503, "too many connections");
    return false;
  }
  HeadFault fault = ReadHead(*parser_, &head_, context_->frontend);
  if (fault.code != 0) {
    FailAndClose(fault.code, fault.sentence, fault.fields);
    return false;
  }
  if (!Admit()) return false;
  if (parser_->is_done()) return true;
  body_limit_ = BodyLimit();
  if (parser_->content_length().value_or(0) > body_limit_) {
    OnParseFault(beast_http::error::body_limit);
    return false;
  }
  parser_->body_limit(body_limit_);
  if (!Charge(parser_->content_length().value_or(0))) return false;
  // The socket's buffer is empty, or this client does not read: then it is not worth waiting for.
  constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  if (head_.expects_continue && !wire_.WriteNow(kContinue)) {
    Close();
    return false;
  }
  return true;
}

void Connection::OnParseFault(error_code error) {
  if (error == beast_http::error::body_limit) {
    return FailAndClose(413, Concat("the body is over the limit of ", body_limit_, " bytes"));
  }
  if (error == beast_http::error::header_limit) {
    return FailAndClose(431, Concat("the header is over the limit of ",
                                    context_->options.max_header_bytes, " bytes"));
  }
  FailAndClose(400, Concat("the request is not valid HTTP: ", error.message()));
}

// Counts what this body takes against the sum of all; a body beyond it is refused.
bool Connection::Charge(size_t bytes) {
  context_->buffered_bytes = context_->buffered_bytes - charged_ + bytes;
  charged_ = bytes;
  if (context_->buffered_bytes <= context_->options.max_buffered_bytes) return true;
  FailAndClose(503, "too many large requests at once");
  return false;
}

void Connection::Shrink(std::string* text) {
  text->clear();
  if (text->capacity() > kKeepBytes) text->shrink_to_fit();
}

void Connection::Discharge() {
  MR_CHECK(context_->buffered_bytes >= charged_, "what is given back was charged");
  context_->buffered_bytes -= std::exchange(charged_, 0);
}

void Connection::Send(int code, std::string_view fields) {
  MR_CHECK(code >= 200 && code < 600, "an answer has an HTTP code");
  ++context_->counters.responses[code / 100];
  if (!head_.keep_alive || context_->draining || context_->moving || refused_) close_after_ = true;
  std::string& head = response_head_;
  head.clear();
  Append(&head, "HTTP/1.1 ", code, " ", ReasonPhrase(code), "\r\n");
  if (code != 304) AppendEntityFields();
  if (MayRetry(code) && fields.find("Retry-After:") == std::string_view::npos) {
    Append(&head, "Retry-After: 1\r\n");
  }
  head.append(fields);
  if (told_.valid()) AppendTraceFields();
  if (close_after_) {
    Append(&head, "Connection: close\r\n");
  } else if (head_.http10) {
    Append(&head, "Connection: keep-alive\r\n");
  }
  Append(&head, "\r\n");
  Enter(State::kWriting, context_->options.write_timeout_ms);
  const bool body = !head_.head_only;
  const std::array<boost::asio::const_buffer, 3> parts = {
      boost::asio::buffer(head),
      boost::asio::buffer(answer_.json.data(), body ? answer_.json.size() : 0),
      boost::asio::buffer(answer_.binary.data(), body ? answer_.binary.size() : 0)};
  wire_.Write(parts, [self = shared_from_this()](error_code error, size_t) {
    self->Guarded([&] { self->OnWritten(error); });
  });
}

void Connection::OnWritten(error_code error) {
  if (state_ != State::kWriting) return;
  if (error || peer_ended_) return Close();
  if (!close_after_) return NextRequest();
  // To close with unread bytes would reset the connection and take the answer from the client.
  if (!wire_.EndWriting()) return Close();
  buffer_.clear();
  Enter(State::kLingering, context_->options.linger_ms);
  ReadMore();
}

void Connection::NextRequest() {
  if (parser_.has_value()) body_ = std::move(parser_->get().body());
  parser_.reset();
  field_memory_.release();
  Shrink(&body_);
  Discharge();
  Shrink(&answer_.json);
  Shrink(&answer_.binary);
  Shrink(&answer_.copy);
  Enter(State::kIdle, context_->options.idle_timeout_ms);
  Advance();
  ReadMore();
}

void Connection::Close() {
  if (state_ == State::kClosed || state_ == State::kAbandoned) return;
  // An idle client learns that this is the end and no cut.
  if (state_ == State::kIdle && wire_.secure()) wire_.EndWriting();
  wire_.Close();
  Discharge();
  limit_ns_ = kNever;
  if (state_ == State::kInFlight) {
    state_ = State::kAbandoned;
    ++context_->counters.cancelled;
    MR_CHECK(id_ != 0, "nothing ends a connection while it is inside Infer");
    context_->frontend->Cancel(id_);
    return;
  }
  state_ = State::kClosed;
  ++context_->closed;
}

}  // namespace millrace::http
