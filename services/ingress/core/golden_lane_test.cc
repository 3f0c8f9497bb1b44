// Readiness of an ingress lane with a real worker's end: what its golden requests show.
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <string.h>

#include <functional>

#include "common/clock.h"
#include "common/testing/allocations.h"
#include "ipc/window.h"
#include "services/ingress/core/ingress_lane.h"
#include "services/runtime/testing/lane_rig.h"
#include "services/runtime/worker.h"

namespace millrace {
namespace {

constexpr int64_t kHangNs = 60 * kNanosPerSecond;  // of the test, where it has failed

// The model adds one; the golden request asks for 1 + 1.
constexpr char kCatalog[] = R"(
  generation: 1
  models {
    name: "plain" version: "7" route: 12 max_rows: 4 latest: true
    inputs { name: "input" datatype: 11 dims: 1 }
    outputs { tensor { name: "prediction" datatype: 11 dims: 1 } kind: PREDICTION }
    prediction_columns: 1 margin_columns: 1
    golden {
      inputs { name: "input" datatype: 11 shape: 1 shape: 1 data: "\000\000\200\077" }
      outputs { name: "prediction" datatype: 11 data: "\000\000\000\100" }
    }
  }
)";

class GoldenLaneTest : public ::testing::Test, public Completion {
 protected:
  GoldenLaneTest()
      : ingress_(rig_.Add(Stage::kIngress, IngressArenaShape(config_))),
        worker_lane_(rig_.Add(Stage::kExecution, WorkerArenaShape(config_))),
        worker_(&worker_lane_.lane),
        lane_(&ingress_.lane, ingress_.ledger.get(), config_) {
    for (Stage stage : {Stage::kFeatures, Stage::kAggregation}) {
      TestLane& other = rig_.Add(stage);
      rig_.Link(stage == Stage::kFeatures ? ingress_ : other,
                stage == Stage::kFeatures ? other : ingress_);
    }
    rig_.Link(ingress_, worker_lane_);
    rig_.Link(worker_lane_, ingress_);
    auto catalog = std::make_shared<Catalog>();
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(kCatalog, catalog.get()));
    lane_.SetCatalog(catalog);
    lane_.GoLive(1);
    worker_.Poll();
    lane_.Poll();
  }
  static Config SmallConfig() {
    Config config;
    config.max_in_flight = 8;
    config.max_request_bytes = 64 << 10;
    config.probe_period_ms = 100;
    return config;
  }

  void AnswerAll() {
    worker_.Poll();
    while (auto item = worker_.Pop()) {
      auto pack = PackView::Open(*worker_.Input(*item));
      ASSERT_TRUE(pack.ok());
      float value;
      memcpy(&value, pack->tensor(0).data.data(), sizeof value);
      value += adds_;
      PackWriter out(1);
      out.Add(PREDICTION, DataType::kFp32, 1, sizeof value);
      BlockRef block = *worker_.Allocate(*item, out.bytes());
      out.Place(worker_.At(block));
      memcpy(out.Data(0), &value, sizeof value);
      const Hop hop = {item->message.origin, 0, item->message.route};
      worker_.Reply(*item, {&hop, 1}, absl::OkStatus(), block);
    }
  }
  // Rounds of both, or of ingress alone, until it holds.
  bool Until(bool worker, const std::function<bool()>& holds) {
    const int64_t end = MonotonicNanos() + kHangNs;
    while (!holds() && MonotonicNanos() < end) {
      if (worker) AnswerAll();
      lane_.Poll();
    }
    return holds();
  }
  bool Ready() { return lane_.ServerReady() && lane_.ModelReady("plain", "").ok(); }

  void Done(const InferAnswer& answer) override {
    ++answers_;
    EXPECT_TRUE(answer.status.ok()) << answer.status;
    if (refill_ && answer.status.ok()) Infer();
  }
  void Infer() {
    const float value = 3;
    const int64_t shape[] = {1, 1};
    const TensorView input = {
        "input", DataType::kFp32, shape, {reinterpret_cast<const char*>(&value), sizeof value}};
    InferRequest request;
    request.model = "plain";
    request.inputs = {&input, 1};
    lane_.Infer(request, this);
  }
  const GoldenWords& words() { return ingress_.lane.page().golden; }

  const Config config_ = SmallConfig();
  LaneRig rig_;
  TestLane& ingress_;
  TestLane& worker_lane_;
  Worker worker_;
  IngressLane lane_;
  float adds_ = 1;
  int answers_ = 0;
  bool refill_ = false;  // each answer makes room for the next request
};

TEST_F(GoldenLaneTest, ReadyIsWhatAGoldenRequestHasShown) {
  EXPECT_FALSE(Ready()) << "every process is there, and nothing was answered";
  EXPECT_FALSE(lane_.MayOpen());
  ASSERT_TRUE(Until(true, [&] { return Ready(); }));
  EXPECT_TRUE(lane_.MayOpen());
  for (Counter counter : {Counter::kTaken, Counter::kAnswered, Counter::kInFlight}) {
    EXPECT_EQ(ingress_.lane.page().Get(counter), 0u) << "it is no client's";
  }
  EXPECT_EQ(lane_.Statistics("plain", "")[0].success.count, 0u);
  EXPECT_TRUE(lane_.Statistics("plain", "")[0].golden_age_ms.has_value());
}

// The link is whole, the worker stands in the roster, and nothing comes back: a consumer that
// stands still, or messages that are stuck on the way.
TEST_F(GoldenLaneTest, AStuckLinkTurnsReadyFalseAndBack) {
  ASSERT_TRUE(Until(true, [&] { return Ready(); }));
  ASSERT_TRUE(Until(false, [&] { return !Ready(); }));
  EXPECT_LT(words().ready_until_ns.Get(), static_cast<uint64_t>(MonotonicNanos()));
  EXPECT_TRUE(absl::IsUnavailable(lane_.ModelReady("plain", "")));
  EXPECT_GE(lane_.Statistics("plain", "")[0].golden_age_ms, config_.probe_period_ms);
  EXPECT_TRUE(absl::IsNotFound(lane_.ModelReady("other", "")));
  EXPECT_TRUE(lane_.MayOpen()) << "who is there stays";
  ASSERT_TRUE(Until(true, [&] { return Ready(); }));
}

TEST_F(GoldenLaneTest, AWrongResultTurnsReadyFalseAlthoughClientsAreAnswered) {
  ASSERT_TRUE(Until(true, [&] { return Ready(); }));
  adds_ = 2;
  ASSERT_TRUE(Until(true, [&] {
    Infer();
    return !Ready();
  }));
  EXPECT_GT(answers_, 0);
  EXPECT_EQ(words().models[0].failure.Get(), static_cast<uint64_t>(GoldenFailure::kWrong));
  adds_ = 1;
  ASSERT_TRUE(Until(true, [&] { return Ready(); }));
}

// Clients hold every slot whenever the probe is due: it is refused, and they are the proof.
TEST_F(GoldenLaneTest, AFullLedgerIsNoVerdictWhileClientsAreAnswered) {
  ASSERT_TRUE(Until(true, [&] { return Ready(); }));
  ASSERT_TRUE(Until(true, [&] { return lane_.in_flight() == 0; }));
  const uint64_t good_ns = words().models[0].good_ns.Get();
  refill_ = true;
  for (int i = 0; i < config_.max_in_flight; ++i) Infer();
  int64_t periods = 0;
  ASSERT_TRUE(Until(true, [&] {
    EXPECT_TRUE(Ready());
    periods = (MonotonicNanos() - static_cast<int64_t>(good_ns)) /
              (config_.probe_period_ms * kNanosPerMilli);
    return periods >= 5 || HasFailure();
  }));
  EXPECT_EQ(words().models[0].good_ns.Get(), good_ns) << "the probe got through: no overload";
  // Stuck now, with all slots taken: no proof from anybody.
  ASSERT_TRUE(Until(false, [&] { return !Ready(); }));
}

TEST_F(GoldenLaneTest, GoldenRequestsAllocateNothing) {
  ASSERT_TRUE(Until(true, [&] { return Ready(); }));
  for (int i = 0; i < 10; ++i) {
    Infer();
    AnswerAll();
    lane_.Poll();
  }
  const uint64_t good_ns = words().models[0].good_ns.Get();
  const uint64_t seen = worker_lane_.lane.page().Get(Counter::kTaken);
  uint64_t allocated = 0;
  ASSERT_TRUE(Until(false, [&] {
    AnswerAll();
    const uint64_t before = Allocations();
    lane_.Poll();
    allocated += Allocations() - before;
    return worker_lane_.lane.page().Get(Counter::kTaken) > seen + 4;
  }));
  EXPECT_GT(words().models[0].good_ns.Get(), good_ns);
  EXPECT_EQ(allocated, 0u);
}

}  // namespace
}  // namespace millrace
