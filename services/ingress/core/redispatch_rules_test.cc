// The rule by which a request becomes poison is the one that ipc/model/redispatch.pml was checked
// with: the deaths are counted here, at a real ingress lane, and compared with the model's numbers.
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "ipc/window.h"
#include "services/ingress/core/ingress_lane.h"
#include "services/runtime/testing/lane_rig.h"
#include "services/runtime/worker.h"

namespace millrace {
namespace {

constexpr char kCatalog[] = R"(
  generation: 1
  models {
    name: "plain" version: "7" route: 12 max_rows: 4 latest: true
    inputs { name: "input" datatype: 11 dims: 1 }
    outputs { tensor { name: "prediction" datatype: 11 dims: 1 } kind: PREDICTION }
    prediction_columns: 1 margin_columns: 1
  }
)";

int OfTheModel(const std::string& name) {
  std::ifstream file("ipc/model/redispatch.pml");
  std::stringstream text;
  text << file.rdbuf();
  const std::string line = "\n#define " + name + " ";
  const size_t at = text.str().find(line);
  EXPECT_NE(at, std::string::npos) << name;
  return at == std::string::npos ? -1 : atoi(text.str().c_str() + at + line.size());
}

struct Answer : Completion {
  void Done(const InferAnswer& answer) override {
    ++times;
    status = answer.status;
  }
  int times = 0;
  absl::Status status;
};

// One request at the real ingress lane, and workers that take it one after the other and die.
class OneRequest {
 public:
  OneRequest() {
    auto catalog = std::make_shared<Catalog>();
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(kCatalog, catalog.get()));
    lane_.SetCatalog(catalog);
    lane_.GoLive(1);
    lane_.Poll();
    const float value = 1;
    const int64_t shape[] = {1, 1};
    const TensorView input = {
        "input", DataType::kFp32, shape, {reinterpret_cast<const char*>(&value), sizeof value}};
    InferRequest request;
    request.model = "plain";
    request.inputs = {&input, 1};
    EXPECT_NE(lane_.Infer(request, &answer_), 0u);
  }

  // A new worker gets the request and dies, executing it or not, by a fatal signal or from outside.
  // The request as that worker saw it.
  std::optional<WorkItem> Die(bool executing, bool by_signal) {
    TestLane& worker_lane = rig_.Add(Stage::kExecution, WorkerArenaShape(config_));
    Worker worker(&worker_lane.lane);
    rig_.Link(ingress_, worker_lane);
    rig_.Link(worker_lane, ingress_);
    worker.Poll();
    lane_.Poll();
    worker.Poll();
    std::optional<WorkItem> item = worker.Pop();
    EXPECT_TRUE(item.has_value());
    if (executing && item.has_value()) worker.Executing({&*item, 1}, 0);
    if (by_signal) worker_lane.lane.page().state.store(static_cast<uint32_t>(LaneState::kDying));
    rig_.Leave(worker_lane.incarnation());
    lane_.Poll();
    return item;
  }
  const Answer& answer() const { return answer_; }

 private:
  static Config SmallConfig() {
    Config config;
    config.max_in_flight = 8;
    config.max_request_bytes = 64 << 10;
    return config;
  }

  const Config config_ = SmallConfig();
  LaneRig rig_;
  TestLane& ingress_ = rig_.Add(Stage::kIngress, IngressArenaShape(config_));
  Answer answer_;
  IngressLane lane_{&ingress_.lane, ingress_.ledger.get(), config_};
};

struct Deaths {
  int not_alone = 0;
  int alone = 0;
  std::vector<int> attempts;  // as the workers saw them
};

// Workers die one after the other while they execute the one request, until it is answered.
Deaths DieUntilAnswered(bool by_signal) {
  OneRequest request;
  Deaths deaths;
  while (request.answer().times == 0 && deaths.alone < 10) {
    const std::optional<WorkItem> item = request.Die(true, by_signal);
    if (!item.has_value()) break;
    deaths.attempts.push_back(item->id.attempt);
    ++((item->message.flags & kFlagAlone) != 0 ? deaths.alone : deaths.not_alone);
  }
  EXPECT_EQ(request.answer().times, 1);
  EXPECT_EQ(request.answer().status.code(), absl::StatusCode::kInternal);
  return deaths;
}

TEST(RedispatchRulesTest, DeathsBySignalUntilPoisonAreTheModels) {
  const Deaths deaths = DieUntilAnswered(true);
  EXPECT_EQ(deaths.not_alone, 1);
  EXPECT_EQ(deaths.alone, OfTheModel("DEATHS_BY_SIGNAL"));
}

TEST(RedispatchRulesTest, DeathsFromOutsideUntilPoisonAreTheModels) {
  const Deaths deaths = DieUntilAnswered(false);
  EXPECT_EQ(deaths.not_alone, 1);
  EXPECT_EQ(deaths.alone, OfTheModel("DEATHS_FROM_OUTSIDE"));
}

TEST(RedispatchRulesTest, AttemptsCountFromZeroByOne) {
  EXPECT_EQ(DieUntilAnswered(false).attempts, (std::vector<int>{0, 1, 2}));
}

// Killed from outside while it executes, twice; then by a fatal signal while the request waits.
TEST(RedispatchRulesTest, ADeathThatWasAnothersDoesNotMakePoison) {
  OneRequest request;
  request.Die(true, false);
  request.Die(true, false);
  request.Die(false, true);
  EXPECT_EQ(request.answer().times, 0) << request.answer().status;
}

}  // namespace
}  // namespace millrace
