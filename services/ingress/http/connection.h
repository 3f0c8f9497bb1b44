// One client's connection: its requests one after the other, each answered before the next is read.
//
// Purpose: the state machine between bytes of a socket (wire.h) and the Frontend. Its source is in
//   two parts: connection.cc reads, writes and keeps time; connection_request.cc is what happens to
//   a request that was read whole.
// Who may call: the lane's thread only.
// Ownership: the server holds a connection until closed(); handlers in the event loop hold it while
//   an operation is pending. The ServerContext outlives all.
// Invariants:
//   1. At most one request of a connection is in the pipeline. Pipelined ones wait in a buffer of
//      bounded size, so answers are in order by construction.
//   2. A read is pending all the time, so that a client that goes away while its request is in
//      flight is noticed and its request cancelled; while that buffer is full each Sweep asks. An
//      end of stream counts as gone: a client must not half-close before its answer.
//   3. After Infer, Done is called once whatever happened to the socket; closed() comes after it.
//   4. Each state but kInFlight and kChanging has a time limit; the lane guarantees an answer.
//   5. An error before the request was read whole closes the connection (after the answer): what
//      follows cannot be told apart from the body.
//   6. No exception leaves a public function.
// What fails: nothing; faults end the connection and are counted.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <array>
#include <boost/beast/core/flat_buffer.hpp>
#include <cstddef>
#include <exception>
#include <limits>
#include <memory>
#include <memory_resource>
#include <optional>
#include <string>
#include <string_view>

#include "services/ingress/access/access.h"
#include "services/ingress/frontend.h"
#include "services/ingress/http/answer_writer.h"
#include "services/ingress/http/change_request.h"
#include "services/ingress/http/content_coding.h"
#include "services/ingress/http/http_options.h"
#include "services/ingress/http/index_request.h"
#include "services/ingress/http/infer_parser.h"
#include "services/ingress/http/parsed_infer.h"
#include "services/ingress/http/predict_parser.h"
#include "services/ingress/http/region_paths.h"
#include "services/ingress/http/request_head.h"
#include "services/ingress/http/route_request.h"
#include "services/ingress/http/settings_request.h"
#include "services/ingress/http/wire.h"

namespace millrace::http {

// What the connections of one server share; one thread, so the parsers' scratch is used in turn.
struct ServerContext {
  ServerContext(Frontend* frontend, const HttpOptions& options, Reach reach)
      : frontend(frontend),
        options(options),
        gate(options.keys, reach),
        infer_parser(options.regions),
        region_paths(options.regions) {}

  // What is no inference, answered.
  Description Answer(const Route& route, const std::string& body, bool only_ready) {
    if (route.of_regions()) return region_paths.Answer(route, body);
    return Describe(route, *frontend, options.server_version, draining, only_ready,
                    region_paths.allowed());
  }

  Frontend* frontend;
  HttpOptions options;
  Gate gate;
  HttpCounters counters;
  InferParser infer_parser;
  PredictParser predict_parser;
  IndexRequestParser index_parser;
  RegionPaths region_paths;
  ChangeRequestParser change_parser;
  RouteRequestParser route_parser;
  SettingsRequestParser settings_parser;
  Unpacker unpacker;
  Packer packer;
  ParsedInfer parsed;
  Classifier classifier;
  bool draining = false;
  bool moving = false;        // each answer closes its connection; else as ever
  size_t in_flight = 0;       // requests with the frontend
  size_t buffered_bytes = 0;  // of bodies being received
  size_t closed = 0;          // connections the server may let go
};

// A state without a limit of time.
inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

class Connection final : public Completion, public std::enable_shared_from_this<Connection> {
 public:
  // `tls`: as of Wire.
  Connection(ServerContext* context, Socket socket, boost::asio::ssl::context* tls);
  ~Connection() override;

  void Start();
  // The first request gets 503, whatever it asks for, and the connection ends.
  void Refuse() { refused_ = true; }
  // Ends what has passed its time limit.
  void Sweep(int64_t now_ns);
  // An idle connection gets one last short chance; a busy one closes after its answer.
  void Drain();
  // The server goes: nothing more is read or written.
  void Abort();
  bool closed() const { return state_ == State::kClosed; }

  void Done(const InferAnswer& answer) override;

 private:
  enum class State {
    kIdle,       // between requests, and before the first
    kHeader,     // part of a header is there
    kBody,       // the header was accepted
    kInFlight,   // with the frontend
    kChanging,   // a change of models or routes is under way
    kAbandoned,  // with the frontend; the client is gone and the socket closed
    kWriting,    // an answer is being written
    kLingering,  // answered for the last time; what the client still sends is dropped
    kClosed,
  };

  // Runs an event; an exception of a library ends the connection.
  template <typename Event>
  void Guarded(Event event) {
    try {
      event();
    } catch (const std::exception&) {
      // Out of memory, or a library's surprise: this client is lost, the server is not.
      Close();
    }
  }

  void Enter(State state, int64_t limit_ms);
  void OnHandshake(boost::system::error_code error);
  void ReadMore();
  // An answer is being made or written.
  bool Busy() const;
  void EndOfPeer();
  void OnRead(boost::system::error_code error, size_t bytes);
  void Advance();
  bool OnHeader();
  // Whether the client may do this; else it is told why not.
  bool Admit();
  void OnParseFault(boost::system::error_code error);
  bool Charge(size_t bytes);
  // Of the body that the header announces, as it comes and unpacked.
  size_t BodyLimit() const;

  void OnRequest();
  // What a POST asks to be set; OK where it is so already.
  absl::Status CheckSettings();
  // The body without its content coding, in its place.
  absl::Status Unpack();
  // Where the request goes; asked once, as soon as what a route goes by is read.
  Routed Resolve(std::string_view client_key, std::string_view id) const;
  absl::Status Parse(const Catalog* catalog, Routed* routed);
  absl::Status BindClasses(std::shared_ptr<const Catalog> catalog, const Routed& routed);
  void StartInfer();
  // connection_change.cc
  void StartChange();
  void OnChanged(const absl::Status& outcome);
  void AskRoutes();
  void OnRoutesReply(const RoutesReply& reply);
  // For the record of a change.
  std::string Who() const;

  void Fail(const absl::Status& status);
  // `fields`: more of the header, each with its line end.
  void FailAndClose(int code, std::string_view sentence, std::string_view fields = {});
  void Send(int code, std::string_view fields = {});
  void AppendEntityFields();
  void AppendTraceFields();
  void OnWritten(boost::system::error_code error);
  void NextRequest();
  // Empties it, and keeps no more capacity than an idle connection may.
  static void Shrink(std::string* text);
  void Discharge();
  void Close();

  ServerContext* context_;
  Wire wire_;
  State state_ = State::kIdle;
  int64_t limit_ns_ = 0;  // when the state's time is up
  bool reading_ = false;
  std::string tenant_;     // whose key it showed; empty: none was asked for
  std::string peer_name_;  // of the client's certificate; empty: it showed none
  bool peer_ended_ = false;
  bool close_after_ = false;
  bool refused_ = false;
  size_t charged_ = 0;

  boost::beast::flat_buffer buffer_;  // read and not yet parsed
  // The fields of one request's header; what is more than that comes from the heap.
  std::array<std::byte, 4 << 10> field_bytes_;
  std::pmr::monotonic_buffer_resource field_memory_{field_bytes_.data(), field_bytes_.size()};
  std::optional<Parser> parser_;
  RequestHead head_;
  size_t body_limit_ = 0;
  int64_t arrival_ns_ = 0;  // of the header
  std::string body_;        // kept for its capacity while no parser has it
  RequestId id_ = 0;
  AnswerForm form_;
  TraceContext told_;  // of the answer that is being made; not valid: it names no trace
  std::string response_head_;
  AnswerBody answer_;
};

}  // namespace millrace::http
