// Where protocols meet the pipeline: a request as views in, an answer as views out.
//
// Purpose: gRPC and HTTP adapters translate their wire formats to and from these types and know
//   nothing of rings; the ingress lane implements Frontend and knows nothing of wire formats.
// Who may call: only the thread that owns the lane (the completion queue's, or HTTP's io thread).
// Ownership: views in InferRequest must live until Infer returns; views in InferAnswer live only
//   during Completion::Done and may lie in a peer's memory: copy each once, never read it again.
// Invariants:
//   1. For each Infer, Done is called exactly once, by the same thread: inside Infer for what is
//      refused at once, else from Poll.
//   2. Status codes are absl's and map one to one to gRPC's: INVALID_ARGUMENT for bad input (the
//      message names the field), NOT_FOUND for an unknown model, UNAVAILABLE for what was not
//      executed, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED for a quota or a body over the limit,
//      INTERNAL for poison, CANCELLED after Cancel.
//   3. Messages carry no path and no internal name.
#pragma once

#include <stdint.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/datatype.h"
#include "common/trace_context.h"
#include "ipc/catalog.pb.h"
#include "services/ingress/model_statistics.h"

namespace millrace {

// One input. `raw` is little-endian, row-major; BYTES elements are u32 length + bytes each. The
// lane checks that shape, datatype and the size of `raw` agree and fit the model's signature.
struct TensorView {
  std::string_view name;
  DataType datatype = DataType::kInvalid;
  absl::Span<const int64_t> shape;
  std::string_view raw;
};

// HTTP headers or gRPC metadata of a request, looked at where a route asks for them.
class RequestHeaders {
 public:
  virtual ~RequestHeaders() = default;
  // `name` in lower case; empty: it has none.
  virtual std::string_view Find(std::string_view name) const = 0;
};

// What routes go by (services/ingress/routes/README.md).
struct RouteQuestion {
  std::string_view model;
  std::string_view version;          // not empty: the request is not routed
  std::string_view path = {};        // HTTP: the prefix before /v1 or /v2
  std::string_view tenant = {};      // the API key's owner
  std::string_view client_key = {};  // the parameter millrace-client-key
  std::string_view id = {};          // the request's own
  const RequestHeaders* headers = nullptr;
  bool describes = false;  // it asks about the model, and is no inference
};

struct CompiledRule;

// How a request was routed.
struct RouteUse {
  const CompiledRule* rule = nullptr;  // null: not at all
  uint64_t key = 0;
  uint8_t next_fallback = 0;  // of the rule's: those before it could not answer
};

// Where a request goes. Valid as long as nothing is polled.
struct Routed {
  std::string_view model;
  std::string_view version;
  RouteUse use = {};
};

// Where a request came in, for its trace.
struct TraceEntry {
  TraceContext parent = {};     // the client's span; not valid: it named none
  std::string_view state = {};  // its `tracestate`
  int64_t entered_ns = 0;       // CLOCK_MONOTONIC; 0: now
  TraceMethod method = TraceMethod::kUnknown;
};

// For who asks for one model again and again: where the last request found it. A hint, the lane's
// own to read and write.
struct ModelMemo {
  uint64_t table = 0;
  const void* model = nullptr;
};

struct InferRequest {
  std::string_view model;
  std::string_view version;                    // empty: the latest
  absl::Span<const TensorView> inputs;         // the ready tensor, or named raw columns
  absl::Span<const std::string_view> outputs;  // empty: all that the model declares
  int64_t deadline_ns = 0;                     // CLOCK_MONOTONIC; 0: the server's default
  uint32_t priority = 0;                       // 1 highest, 0 default
  std::string_view id = {};                    // the client's own; only its hash is kept
  std::string_view fault = {};                 // a fault on purpose that it asks for
  TraceEntry trace = {};
  RouteUse route = {};  // as Resolve gave it, together with model and version
  ModelMemo* memo = nullptr;
  int64_t came_ns = 0;  // when it was taken in, CLOCK_MONOTONIC; 0: now
};

struct InferAnswer {
  absl::Status status;
  // Valid only with an OK status. The model as it was asked for, the version that answered.
  std::string_view model;
  std::string_view version;
  absl::Span<const TensorView> outputs;
  int64_t retry_after_ms = 0;      // of UNAVAILABLE: when to come back, as predicted; 0: not known
  TraceContext trace = {};         // our span, for the client to know; not valid: nothing is said
  std::string_view fallback = {};  // what answered where the route's target could not; empty: none
};

class Completion {
 public:
  virtual ~Completion() = default;
  virtual void Done(const InferAnswer& answer) = 0;
};

// Names a request in flight, for Cancel; 0 names none.
using RequestId = uint64_t;

// A change of what is served, asked for by a client: administration, not inference.
struct ModelChange {
  enum class Kind : uint8_t { kLoad, kUnload };
  Kind kind = Kind::kLoad;
  std::string model;  // checked by CheckModelName (verbs.h)
  bool unload_dependents = false;
};
// OK: the catalog with the change is live everywhere. Else why nothing was changed.
using ChangeDone = std::function<void(const absl::Status& status)>;

// A question about routes and rollouts, or a change of them: administration as well.
struct RoutesQuestion {
  std::string command_json;  // as of the admin socket
  std::string who;           // the key's owner, or where the client is
};
struct RoutesReply {
  absl::Status status;
  std::string message;  // beside OK: what to know
  std::string json;     // an object
};
using RoutesDone = std::function<void(const RoutesReply& reply)>;

class Frontend {
 public:
  virtual ~Frontend() = default;

  // Returns 0 when `completion` was already called.
  virtual RequestId Infer(const InferRequest& request, Completion* completion) = 0;

  // Where a request goes, asked once, before what it brings is read by a model's signature. What
  // comes back is what Infer is asked for in the same turn.
  virtual Routed Resolve(const RouteQuestion& question) const {
    return {question.model, question.version};
  }
  // The version that a question about a model is about.
  Routed Described(std::string_view model, std::string_view version) const {
    RouteQuestion question = {model, version};
    question.describes = true;
    return Resolve(question);
  }
  // Whether a route has this name; and whether some rule is for requests below this path.
  virtual bool IsRouted(std::string_view) const { return false; }
  virtual bool NamesPath(std::string_view) const { return false; }

  // The client went away: Done follows (CANCELLED, or the answer if it was already on its way).
  virtual void Cancel(RequestId id) = 0;

  // The catalog that requests are routed by now; shared, immutable; null before the first.
  virtual std::shared_ptr<const Catalog> catalog() const = 0;

  // Whether a request could be served now: the server (every stage has a live worker, a catalog is
  // live) and one model (`version` empty: the latest). NOT_FOUND for an unknown model.
  virtual bool ServerReady() const = 0;
  virtual absl::Status ModelReady(std::string_view model, std::string_view version) const = 0;

  // What was counted, of this process's lanes together; empty: all models, all versions. A version
  // that was never served is not there.
  virtual std::vector<ModelStatistic> Statistics(std::string_view model,
                                                 std::string_view version) const = 0;

  // Whether `InferRequest::trace` is of use.
  virtual bool Traces() const { return false; }

  // A protocol refused a request itself, since its key's rate or quota is used up.
  virtual void CountQuotaRefusal() {}

  // `done` is called exactly once, by the same thread: inside ChangeModel, or later. It must be
  // safe to call after whoever asked has gone, and may be destroyed without a call at the process's
  // end.
  virtual void ChangeModel(const ModelChange& change, ChangeDone done) = 0;
  // As ChangeModel; a change is in force with every lane when it is answered.
  virtual void AskRoutes(RoutesQuestion, RoutesDone done) {
    done({absl::UnimplementedError("this server has no routes"), "", ""});
  }
};

}  // namespace millrace
