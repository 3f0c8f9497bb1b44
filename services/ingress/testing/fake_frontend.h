// A Frontend without a pipeline, for the tests of the protocol adapters.
//
// Purpose: record what an adapter asked for, and answer as the test says and when it says.
// Who may call: one thread (the adapter's), like the real Frontend.
// Ownership: a Completion stays the adapter's; what was seen and what is answered are copies.
// Invariants:
//   1. Done is called once for each Infer: inside Infer (kInline), from the next Poll (kPoll), or
//      from the first Poll after Release (kHold).
//   2. A request that is cancelled before its answer gets CANCELLED from the next Poll.
//   3. The views handed to Done lie in memory that is overwritten right after Done returns.
// Nothing fails; an id that is not in flight is ignored by Cancel and Release.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "services/ingress/frontend.h"

namespace millrace {

struct FakeTensor {
  std::string name;
  DataType datatype = DataType::kInvalid;
  std::vector<int64_t> shape;
  std::string raw;
};

// A request as the adapter handed it in.
struct FakeRequest {
  RequestId id = 0;
  std::string model;
  std::string version;
  std::vector<FakeTensor> inputs;
  std::vector<std::string> outputs;
  int64_t deadline_ns = 0;
  uint32_t priority = 0;
  TraceEntry trace;
  std::string trace_state;  // what its view showed
};

struct FakeAnswer {
  absl::Status status;
  std::string model;
  std::string version;
  std::vector<FakeTensor> outputs;
  int64_t retry_after_ms = 0;
  TraceContext trace = {};
};

class FakeFrontend final : public Frontend {
 public:
  enum class Mode { kInline, kPoll, kHold };
  using Answerer = std::function<FakeAnswer(const FakeRequest&)>;

  // Serves FakeCatalog(), is ready, and answers each request with its own inputs.
  FakeFrontend();

  void set_mode(Mode mode) { mode_ = mode; }
  void set_answerer(Answerer answerer) { answerer_ = std::move(answerer); }
  void set_catalog(std::shared_ptr<const Catalog> catalog) { catalog_ = std::move(catalog); }
  void set_ready(bool ready) { ready_ = ready; }
  // Where it traces, the answer to a request with a trace names span kFakeSpan of it.
  static constexpr uint64_t kFakeSpan = 0xabc;
  void set_traces(bool traces) { traces_ = traces; }
  bool Traces() const override { return traces_; }

  void set_statistics(std::vector<ModelStatistic> statistics) {
    statistics_ = std::move(statistics);
  }

  // The changes that were asked for; Changed answers the oldest that is not answered yet. Where
  // set_change_status was called, each is answered at once.
  const std::vector<ModelChange>& changes() const { return changes_; }
  void Changed(const absl::Status& status);
  void set_change_status(absl::Status status) { change_status_ = std::move(status); }

  // The questions about routes that were asked; Replied answers the oldest that is not answered
  // yet. Where there is an answerer, each is answered at once.
  const std::vector<RoutesQuestion>& routes_asked() const { return routes_asked_; }
  void Replied(const RoutesReply& reply);
  using RoutesAnswerer = std::function<RoutesReply(const RoutesQuestion&)>;
  void set_routes_answerer(RoutesAnswerer answerer) { routes_answerer_ = std::move(answerer); }

  // Where requests go; without one as they ask. NamesPath holds for "/staging" alone.
  using Resolver = std::function<Routed(const RouteQuestion&)>;
  void set_resolver(Resolver resolver) { resolver_ = std::move(resolver); }
  Routed Resolve(const RouteQuestion& question) const override {
    return resolver_ ? resolver_(question) : Frontend::Resolve(question);
  }
  bool NamesPath(std::string_view prefix) const override {
    return resolver_ && prefix == "/staging";
  }

  // Lets a held request be answered by the next Poll.
  void Release(RequestId id);
  void ReleaseAll();
  // Calls Done for what is due; returns how many.
  size_t Poll();

  const std::deque<FakeRequest>& seen() const { return seen_; }
  const std::vector<RequestId>& cancelled() const { return cancelled_; }
  size_t quota_refusals() const { return quota_refusals_; }
  void CountQuotaRefusal() override { ++quota_refusals_; }
  // Forgets both, for who asks without end.
  void Forget() { seen_.clear(), cancelled_.clear(); }
  size_t in_flight() const { return in_flight_.size(); }

  RequestId Infer(const InferRequest& request, Completion* completion) override;
  void Cancel(RequestId id) override;
  std::shared_ptr<const Catalog> catalog() const override { return catalog_; }
  bool ServerReady() const override { return ready_; }
  absl::Status ModelReady(std::string_view model, std::string_view version) const override;
  // Those of set_statistics.
  std::vector<ModelStatistic> Statistics(std::string_view model,
                                         std::string_view version) const override;
  // Kept; answered by Changed.
  void ChangeModel(const ModelChange& change, ChangeDone done) override;
  void AskRoutes(RoutesQuestion question, RoutesDone done) override;

 private:
  size_t quota_refusals_ = 0;
  bool traces_ = false;
  struct Pending {
    Completion* completion = nullptr;
    FakeAnswer answer;
    bool due = false;
  };

  Mode mode_ = Mode::kInline;
  Answerer answerer_;
  std::shared_ptr<const Catalog> catalog_;
  bool ready_ = true;
  std::vector<ModelStatistic> statistics_;
  std::vector<ModelChange> changes_;
  std::deque<ChangeDone> changing_;
  std::optional<absl::Status> change_status_;
  std::vector<RoutesQuestion> routes_asked_;
  std::deque<RoutesDone> routes_asking_;
  RoutesAnswerer routes_answerer_;
  Resolver resolver_;
  RequestId next_id_ = 1;
  std::deque<FakeRequest> seen_;
  std::vector<RequestId> cancelled_;
  std::map<RequestId, Pending> in_flight_;
};

// Sends to version 2 of "plain" who shows the header "x-stage: canary", is the tenant "all", has
// the key "me" or asks below "/staging"; and writes down why.
inline FakeFrontend::Resolver ResolverForTest(std::vector<std::string>* why) {
  return [why](const RouteQuestion& question) {
    std::string reasons;
    const auto add = [&](const char* reason, bool holds) {
      if (holds) reasons += reasons.empty() ? reason : std::string(" ") + reason;
    };
    add("header", question.headers != nullptr && question.headers->Find("x-stage") == "canary");
    add("tenant", question.tenant == "all");
    add("key", question.client_key == "me");
    add("path", question.path == "/staging");
    why->push_back(reasons);
    return reasons.empty() ? Routed{question.model, question.version} : Routed{"plain", "2"};
  };
}

// Three models: "plain" (versions 1 and 2, one FP32 tensor of 3 columns, one output), "viewed"
// (a feature view with the number "age" and the string "plan"; outputs "prediction", "class" and
// "label") and "ints" (INT64, 2 columns). "broken" is listed as failed.
std::shared_ptr<const Catalog> FakeCatalog();

}  // namespace millrace
