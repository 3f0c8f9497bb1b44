// HTTP/1.1 with JSON, on one thread: a connection for each request in flight, kept alive and used
// again, the last used first.
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <deque>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "tools/load/endpoints.h"
#include "tools/load/http_json.h"
#include "tools/load/http_stream.h"
#include "tools/load/transport.h"

namespace millrace {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using Protocol = asio::generic::stream_protocol;
using Error = boost::system::error_code;

constexpr uint64_t kMaxAnswerBytes = uint64_t{1} << 30;
constexpr auto kRetryAfter = std::chrono::milliseconds(20);

// What a request is on the wire, and what was found out about its answers.
struct Prepared {
  std::string wire;
  // The last answer that was read: equal bytes need not be read again.
  std::string known_body;
  Outcome known_outcome = Outcome::kFailed;
};

struct Answer {
  int slot = 0;
  size_t request = 0;
  int64_t done_ns = 0;
  const char* stage = nullptr;  // CONNECT or LOST, with `error`
  Error error;
  int status = 0;
  std::string body;
};

class HttpTransport : public Transport {
 public:
  HttpTransport(std::vector<Prepared> prepared, const GoldenSet& golden,
                const TransportOptions& options, TlsContext tls, int slots)
      : golden_(golden),
        options_(options),
        tls_(std::move(tls)),
        prepared_(std::move(prepared)),
        endpoints_(ResolveEndpoints(&io_, options.address, &resolve_error_)) {
    for (int i = 0; i < slots; ++i) {
      connections_.push_back(std::make_unique<Connection>(this));
      idle_.push_back(connections_.back().get());
    }
  }

  void Send(int slot, size_t request, bool again) override {
    Connection* connection = idle_.back();
    idle_.pop_back();
    connection->Start(slot, request, again);
  }

  std::optional<Done> Wait(int64_t until_ns) override {
    io_.restart();
    if (until_ns == 0) {
      io_.poll();
    } else if (answers_.empty()) {
      bool over = false;
      timer_.expires_at(std::chrono::steady_clock::time_point(std::chrono::nanoseconds(until_ns)));
      timer_.async_wait([&over](const Error& error) { over = !error; });
      while (answers_.empty() && !over) io_.run_one();
      timer_.cancel();
      io_.poll();  // ends the wait, whose handler names what lies on this stack
    }
    if (answers_.empty()) return {};
    const Answer answer = std::move(answers_.front());
    answers_.pop_front();
    return MakeDone(answer);
  }

 private:
  class Connection {
   public:
    explicit Connection(HttpTransport* owner) : owner_(*owner), retry_timer_(owner->io_) {}

    void Start(int slot, size_t request, bool again) {
      slot_ = slot;
      request_ = request;
      if (!again) return Begin();
      retry_timer_.expires_after(kRetryAfter);
      retry_timer_.async_wait([this](const Error&) { Begin(); });
    }

   private:
    void Begin() {
      if (stream_.has_value()) {
        Expire();
        return Write();
      }
      error_ = owner_.resolve_error_;
      Connect(0);
    }

    // One deadline for all that a request takes.
    void Expire() {
      stream_->expires_after(std::chrono::milliseconds(owner_.options_.deadline_ms));
    }

    void Connect(size_t endpoint) {
      if (endpoint == owner_.endpoints_.size()) {
        stream_.reset();
        return End("CONNECT", error_);
      }
      stream_.emplace(&owner_.io_, owner_.tls_, HostName(owner_.options_.address));
      Expire();
      stream_->Connect(owner_.endpoints_[endpoint], [this, endpoint](const Error& error) {
        error_ = error;
        if (error) return Connect(endpoint + 1);
        Write();
      });
    }

    void Write() {
      asio::async_write(*stream_, asio::buffer(owner_.prepared_[request_].wire),
                        [this](const Error& error, size_t) {
                          if (error) return End("LOST", error);
                          Read();
                        });
    }

    void Read() {
      answer_.emplace();
      answer_->body_limit(kMaxAnswerBytes);
      http::async_read(*stream_, buffer_, *answer_, [this](const Error& error, size_t) {
        End(error ? "LOST" : nullptr, error);
      });
    }

    void End(const char* stage, const Error& error) {
      Answer answer;
      answer.done_ns = MonotonicNanos();
      answer.slot = slot_;
      answer.request = request_;
      answer.stage = stage;
      answer.error = error;
      bool keep = false;
      if (stage == nullptr) {
        answer.status = static_cast<int>(answer_->get().result_int());
        answer.body = std::move(answer_->get().body());
        keep = answer_->keep_alive();
      }
      if (!keep) {
        stream_.reset();
        buffer_.clear();
      }
      owner_.answers_.push_back(std::move(answer));
      owner_.idle_.push_back(this);
    }

    HttpTransport& owner_;
    asio::steady_timer retry_timer_;
    std::optional<HttpStream> stream_;
    beast::flat_buffer buffer_;
    std::optional<http::response_parser<http::string_body>> answer_;
    Error error_;
    int slot_ = 0;
    size_t request_ = 0;
  };

  Done MakeDone(const Answer& answer) {
    Done done;
    done.slot = answer.slot;
    done.done_ns = answer.done_ns;
    if (answer.stage != nullptr) {
      const bool timeout = answer.error == beast::error::timeout;
      done.code = timeout ? "TIMEOUT" : answer.stage;
      done.sentence = absl::StrCat(options_.address, ": ", answer.error.message());
      done.may_retry = !timeout;
    } else if (answer.status != 200) {
      done.code = absl::StrCat("HTTP ", answer.status);
      done.sentence = std::string(ParseHttpError(answer.status, answer.body).message());
      done.may_retry = answer.status == 503;
    } else {
      Compare(answer, &done);
    }
    return done;
  }

  void Compare(const Answer& answer, Done* done) {
    Prepared& prepared = prepared_[answer.request];
    if (prepared.known_outcome == Outcome::kFailed || prepared.known_body != answer.body) {
      const auto response = ParseInferAnswer(answer.body);
      if (!response.ok()) {
        done->code = "BAD_ANSWER";
        done->sentence = std::string(response.status().message());
        return;
      }
      prepared.known_outcome = Matches(golden_.requests[answer.request], *response)
                                   ? Outcome::kExpected
                                   : Outcome::kMismatched;
      prepared.known_body = answer.body;
    }
    done->outcome = prepared.known_outcome;
  }

  const GoldenSet& golden_;
  const TransportOptions options_;
  const TlsContext tls_;
  std::vector<Prepared> prepared_;  // by request
  asio::io_context io_{1};
  asio::steady_timer timer_{io_};
  Error resolve_error_;
  const std::vector<Protocol::endpoint> endpoints_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<Connection*> idle_;
  std::deque<Answer> answers_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> MakeHttpTransport(const GoldenSet& golden,
                                                             const TransportOptions& options,
                                                             int slots) {
  absl::StatusOr<TlsContext> tls = MakeTlsContext(options.identity);
  if (!tls.ok()) return tls.status();
  std::vector<Prepared> prepared;
  std::string fields;
  if (!options.identity.api_key.empty()) {
    fields = absl::StrCat("Authorization: ", options.identity.Authorization(), "\r\n");
  }
  if (options.told_ms > 0) {
    absl::StrAppend(&fields, "X-Request-Timeout-Ms: ", options.told_ms, "\r\n");
  }
  for (const GoldenRequest& of : golden.requests) {
    const absl::StatusOr<std::string> body = InferRequestJson(of.request);
    if (!body.ok()) return body.status();
    const std::string target = ModelTarget(of.request.model_name(), of.request.model_version());
    prepared.emplace_back().wire = absl::StrCat(
        "POST ", target, "/infer HTTP/1.1\r\nHost: ", HostHeader(options.address), "\r\n", fields,
        "Content-Type: application/json\r\nContent-Length: ", body->size(), "\r\n\r\n", *body);
  }
  return std::make_unique<HttpTransport>(std::move(prepared), golden, options, *std::move(tls),
                                         slots);
}

}  // namespace millrace
