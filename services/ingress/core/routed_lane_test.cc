// Routes on the ingress lane: which version is asked, what answers where it cannot, who shadows it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <map>
#include <string>

#include "common/clock.h"
#include "common/testing/allocations.h"
#include "services/ingress/core/ingress_lane.h"
#include "services/ingress/core/testing/ingress_rig.h"
#include "services/ingress/routes/routing_table.h"

namespace millrace {
namespace {

// plain 7, 8 (the latest) and small 1: each adds its route's number to what it is sent.
constexpr char kVersions[] = R"(
  generation: 2
  models {
    name: "plain" version: "7" route: 12 max_rows: 4
    inputs { name: "input" datatype: 11 dims: 1 } prediction_columns: 1 margin_columns: 1
    outputs { tensor { name: "prediction" datatype: 11 dims: 1 } kind: PREDICTION }
  }
  models {
    name: "plain" version: "8" route: 13 max_rows: 4 latest: true
    inputs { name: "input" datatype: 11 dims: 1 } prediction_columns: 1 margin_columns: 1
    outputs { tensor { name: "prediction" datatype: 11 dims: 1 } kind: PREDICTION }
  }
  models {
    name: "small" version: "1" route: 14 max_rows: 4 latest: true
    inputs { name: "input" datatype: 11 dims: 1 } prediction_columns: 1 margin_columns: 1
    outputs { tensor { name: "prediction" datatype: 11 dims: 1 } kind: PREDICTION }
  }
)";

struct Told : Completion {
  void Done(const InferAnswer& answer) override {
    ++times;
    status = answer.status;
    if (!status.ok()) return;
    model = answer.model;
    version = answer.version;
    fallback = answer.fallback;
    ASSERT_EQ(answer.outputs.size(), 1u);
    rows = answer.outputs[0].shape[0];
    memcpy(&value, answer.outputs[0].raw.data(), sizeof value);
  }
  int times = 0;
  absl::Status status;
  std::string model, version, fallback;
  int64_t rows = 0;
  float value = 0;
};

class RoutedLaneTest : public IngressRigTest {
 protected:
  RoutedLaneTest() : RoutedLaneTest(kVersions) {}
  explicit RoutedLaneTest(const char* catalog) : IngressRigTest(8) { Serve(catalog, 2); }

  void Serve(const std::string& text, uint64_t generation) {
    auto catalog = std::make_shared<Catalog>();
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, catalog.get()));
    catalog->set_generation(generation);
    lane_.SetCatalog(catalog);
    lane_.GoLive(generation);
    lane_.Poll();
  }
  // The rules of one route, as text of the proto.
  void Route(const std::string& rules, const std::string& name = "plain") {
    Routes routes;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
        "generation: 1 routes { name: \"" + name + "\" " + rules + "}", &routes));
    bool taken = false;
    lane_.SetRoutes(RoutingTable::Make(routes), [&] { taken = true; });
    EXPECT_FALSE(taken);
    lane_.Poll();
    EXPECT_TRUE(taken);
  }
  RequestId Ask(Told* told, const std::string& key = "", const std::string& model = "plain",
                uint32_t priority = 0) {
    const int64_t shape[] = {1, 1};
    const float value = 100;
    const TensorView input = {
        "input", DataType::kFp32, shape, {reinterpret_cast<const char*>(&value), sizeof value}};
    RouteQuestion question = {model, ""};
    question.client_key = key;
    const Routed routed = lane_.Resolve(question);
    InferRequest request;
    request.model = routed.model;
    request.version = routed.version;
    request.route = routed.use;
    request.inputs = {&input, 1};
    request.priority = priority;
    return lane_.Infer(request, told);
  }
  // All that the worker has: each adds its route's number, or fails as `failing` says.
  void Work(Execution* execution) {
    execution->worker.Poll();
    while (auto item = execution->worker.Pop()) {
      const uint16_t route = item->message.route;
      order_.push_back(route);
      if (failing_.count(route) > 0) {
        const Hop hop = {item->message.origin, 0, route};
        execution->worker.Reply(*item, {&hop, 1}, failing_.at(route), {});
        continue;
      }
      auto pack = PackView::Open(*execution->worker.Input(*item));
      float value;
      memcpy(&value, pack->tensor(0).data.data(), sizeof value);
      value += route;
      PackWriter out(1);
      out.Add(PREDICTION, DataType::kFp32, 1, sizeof value);
      BlockRef block = *execution->worker.Allocate(*item, out.bytes());
      out.Place(execution->worker.At(block));
      memcpy(out.Data(0), &value, sizeof value);
      const Hop hop = {item->message.origin, 0, route};
      execution->worker.Reply(*item, {&hop, 1}, absl::OkStatus(), block);
    }
    execution->worker.Poll();
    lane_.Poll();
  }
  void Rounds(Execution* execution, int rounds = 20) {
    for (int i = 0; i < rounds; ++i) {
      lane_.Poll();
      Work(execution);
    }
  }
  uint64_t Sum(uint16_t route, StatsSum sum) {
    return ingress_.lane.stats().Of(route).words[StatsSumAt(sum)].Get();
  }
  uint64_t Code(uint16_t route, absl::StatusCode code) {
    return ingress_.lane.stats().Of(route).words[StatsCodeAt(static_cast<size_t>(code))].Get();
  }

  std::map<uint16_t, absl::Status> failing_;
  std::vector<uint16_t> order_;  // in which routes were worked on
};

constexpr char kTo7[] = R"(rules { targets { model: "plain" version: "7" weight: 10000 } })";

TEST_F(RoutedLaneTest, ARouteDecidesAndItsAbsenceIsTheLatest) {
  auto execution = AddExecution();
  Told before;
  Ask(&before);
  Rounds(execution.get());
  EXPECT_EQ(before.version, "8");
  EXPECT_EQ(before.value, 113);
  Route(kTo7);
  Told after;
  Ask(&after);
  Rounds(execution.get());
  EXPECT_EQ(after.version, "7");
  EXPECT_EQ(after.model, "plain");
  EXPECT_EQ(after.value, 112);
}

// The answer bears the name that was asked for.
TEST_F(RoutedLaneTest, AnAliasIsAnsweredByItsName) {
  auto execution = AddExecution();
  Route(kTo7, "champion");
  EXPECT_TRUE(lane_.IsRouted("champion"));
  // Known, and without workers of all stages not ready.
  EXPECT_TRUE(absl::IsUnavailable(lane_.ModelReady("champion", "")));
  EXPECT_TRUE(absl::IsNotFound(lane_.ModelReady("nobody", "")));
  Told told;
  Ask(&told, "", "champion");
  Rounds(execution.get());
  EXPECT_EQ(told.model, "champion");
  EXPECT_EQ(told.version, "7");
  EXPECT_EQ(told.value, 112);
}

TEST_F(RoutedLaneTest, ARequestKeepsTheRouteThatItBeganWith) {
  auto execution = AddExecution();
  Route(kTo7);
  Told told;
  Ask(&told);
  Route(R"(rules { targets { model: "plain" version: "8" weight: 10000 } })");
  Rounds(execution.get());
  EXPECT_EQ(told.version, "7");
  EXPECT_EQ(told.value, 112);
}

TEST_F(RoutedLaneTest, AVersionThatIsGoneGivesWayToTheChainAndThenToTheLatest) {
  auto execution = AddExecution();
  Route(R"(rules { targets { model: "plain" version: "9" weight: 10000 }
                   fallbacks { target { model: "small" version: "2" } }
                   fallbacks { target { model: "small" version: "1" } } })");
  Told chain;
  Ask(&chain);
  Route(R"(rules { targets { model: "plain" version: "9" weight: 10000 } })");
  Told latest;
  Ask(&latest);
  Rounds(execution.get());
  EXPECT_EQ(chain.value, 114);
  EXPECT_EQ(chain.fallback, "small/1");
  EXPECT_EQ(latest.version, "8");
  EXPECT_EQ(latest.fallback, "");
}

constexpr char kChain[] = R"(rules {
  targets { model: "plain" version: "7" weight: 10000 }
  fallbacks { target { model: "plain" version: "8" } }
  fallbacks { target { model: "small" version: "1" } }
  fallbacks { constant: '{"outputs":[{"name":"prediction","datatype":"FP32","shape":[1,1],"data":[0.25]}]}' } })";

TEST_F(RoutedLaneTest, TheChainIsTriedInOrder) {
  auto execution = AddExecution();
  Route(kChain);
  failing_[12] = absl::UnavailableError("not now");
  Told first;
  Ask(&first);
  Rounds(execution.get());
  EXPECT_EQ(first.version, "8");
  EXPECT_EQ(first.value, 113);
  EXPECT_EQ(first.fallback, "plain/8");
  EXPECT_EQ(Code(12, absl::StatusCode::kUnavailable), 1u);
  EXPECT_EQ(Code(13, absl::StatusCode::kOk), 1u);
  failing_[13] = absl::InternalError("broken");
  Told second;
  Ask(&second);
  Rounds(execution.get());
  EXPECT_EQ(second.value, 114);
  EXPECT_EQ(second.fallback, "small/1");
  failing_[14] = absl::UnavailableError("not now");
  Told third;
  Ask(&third);
  Rounds(execution.get());
  EXPECT_EQ(third.times, 1);
  EXPECT_TRUE(third.status.ok());
  EXPECT_EQ(third.value, 0.25f);
  EXPECT_EQ(third.fallback, "constant");
  EXPECT_EQ(third.model, "plain");
  Settle({});
}

// What a client did wrong, and what came too late, is answered as it is.
TEST_F(RoutedLaneTest, OnlyWhatCannotAnswerFallsBack) {
  auto execution = AddExecution();
  Route(kChain);
  for (const absl::Status& status :
       {absl::InvalidArgumentError("x"), absl::DeadlineExceededError("x"),
        absl::ResourceExhaustedError("x")}) {
    failing_[12] = status;
    Told told;
    Ask(&told);
    Rounds(execution.get());
    EXPECT_EQ(told.times, 1);
    EXPECT_EQ(told.status.code(), status.code());
  }
}

// A full lane: no version of it could be asked, and the constant answers.
TEST_F(RoutedLaneTest, AConstantAnswersWhatIsRefusedForWantOfRoom) {
  Route(kChain);
  std::vector<Told> told(9);
  for (Told& one : told) Ask(&one);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(told[i].times, 0);
  EXPECT_EQ(told[8].times, 1);
  EXPECT_EQ(told[8].fallback, "constant");
  EXPECT_EQ(told[8].value, 0.25f);
}

constexpr char kShadowed[] = R"(rules {
  targets { model: "plain" version: "7" weight: 10000 }
  shadows { model: "plain" version: "8" parts: 10000 } })";

TEST_F(RoutedLaneTest, AShadowIsAskedComparedAndNeverSeen) {
  auto execution = AddExecution();
  Route(kShadowed);
  Told told;
  Ask(&told);
  Rounds(execution.get());
  EXPECT_EQ(told.times, 1);
  EXPECT_EQ(told.version, "7");
  EXPECT_EQ(told.value, 112);
  EXPECT_EQ(Sum(13, StatsSum::kShadowed), 1u);
  EXPECT_EQ(Sum(13, StatsSum::kCompared), 1u);
  EXPECT_EQ(Sum(13, StatsSum::kShadowFailed), 0u);
  // It is no client's: nothing of it is counted as traffic.
  EXPECT_EQ(Code(13, absl::StatusCode::kOk), 0u);
  EXPECT_EQ(Count(Counter::kTaken), 1u);
  EXPECT_EQ(Count(Counter::kAnswered), 1u);
  Settle({});
}

TEST_F(RoutedLaneTest, AShadowThatFailsIsCountedAndTheClientDoesNotNotice) {
  auto execution = AddExecution();
  Route(kShadowed);
  failing_[13] = absl::InternalError("broken");
  Told told;
  Ask(&told);
  Rounds(execution.get());
  EXPECT_TRUE(told.status.ok());
  EXPECT_EQ(Sum(13, StatsSum::kShadowFailed), 1u);
  EXPECT_EQ(Sum(13, StatsSum::kCompared), 0u);
  EXPECT_EQ(Count(Counter::kFailed), 0u);
}

// Behind every client, whatever priority that has; and left out where clients wait.
TEST_F(RoutedLaneTest, AShadowIsWorkedOnLast) {
  auto execution = AddExecution();
  Route(kShadowed);
  Told first, last;
  Ask(&first);                   // 12, and its shadow 13
  Ask(&last, "", "small", 255);  // the lowest that a client can have
  Work(execution.get());
  ASSERT_EQ(order_.size(), 3u);
  EXPECT_EQ(order_[0], 12);
  EXPECT_EQ(order_[1], 14);
  EXPECT_EQ(order_[2], 13);
}

TEST_F(RoutedLaneTest, NoShadowIsSentWhereThereIsNoRoom) {
  Route(kShadowed);
  std::vector<Told> told(8);
  for (Told& one : told) Ask(&one);  // nobody works: they wait
  auto execution = AddExecution();
  Rounds(execution.get());
  for (const Told& one : told) EXPECT_EQ(one.value, 112);
  EXPECT_EQ(Sum(13, StatsSum::kShadowed), 0u);
}

TEST_F(RoutedLaneTest, AShadowBesideAnotherVersionIsNotAsked) {
  auto execution = AddExecution();
  Route(R"(rules { targets { model: "plain" version: "7" weight: 5000 }
                   targets { model: "plain" version: "8" weight: 5000 }
                   shadows { model: "small" version: "1" parts: 10000 beside_version: "8" } })");
  uint64_t by_8 = 0;
  for (int i = 0; i < 40; ++i) {
    Told told;
    Ask(&told, "client " + std::to_string(i));
    Rounds(execution.get(), 3);
    ASSERT_EQ(told.times, 1);
    by_8 += told.version == "8";
  }
  EXPECT_GT(by_8, 5u);
  EXPECT_LT(by_8, 35u);
  EXPECT_EQ(Sum(14, StatsSum::kShadowed), by_8);
  EXPECT_EQ(Sum(14, StatsSum::kCompared), by_8);
}

TEST_F(RoutedLaneTest, ACancelledClientsShadowIsComparedWithNothing) {
  auto execution = AddExecution();
  Route(kShadowed);
  Told told;
  lane_.Cancel(Ask(&told));
  Rounds(execution.get());
  EXPECT_TRUE(absl::IsCancelled(told.status));
  EXPECT_EQ(Sum(13, StatsSum::kShadowed), 1u);
  EXPECT_EQ(Sum(13, StatsSum::kCompared), 0u);
  EXPECT_EQ(Sum(13, StatsSum::kShadowFailed), 0u);
  for (int i = 0; i < 40; ++i) {  // its pair is free again
    Told again;
    Ask(&again);
    Rounds(execution.get(), 3);
  }
  EXPECT_EQ(Sum(13, StatsSum::kShadowed), 41u);
}

// A switch costs the requests nothing: neither to resolve nor to keep the routes.
TEST_F(RoutedLaneTest, ARoutedRequestAllocatesNothing) {
  auto execution = AddExecution();
  Route(R"(rules { headers { name: "x-stage" value: "canary" }
                   targets { model: "small" version: "1" weight: 10000 } }
           rules { targets { model: "plain" version: "7" weight: 9500 }
                   targets { model: "plain" version: "8" weight: 500 } })");
  Told told;
  for (int i = 0; i < 50; ++i) {
    Ask(&told, "somebody");
    Rounds(execution.get(), 2);
  }
  const int64_t shape[] = {1, 1};
  const float value = 100;
  const TensorView input = {
      "input", DataType::kFp32, shape, {reinterpret_cast<const char*>(&value), sizeof value}};
  RouteQuestion question = {"plain", ""};
  question.client_key = "somebody";
  struct Quiet : Completion {
    void Done(const InferAnswer&) override {}
  } quiet;
  const uint64_t before = Allocations();
  const Routed routed = lane_.Resolve(question);
  InferRequest request;
  request.model = routed.model;
  request.version = routed.version;
  request.inputs = {&input, 1};
  request.route = routed.use;
  const RequestId id = lane_.Infer(request, &quiet);
  const uint64_t allocations = Allocations() - before;
  EXPECT_NE(id, 0u);
  EXPECT_EQ(allocations, 0u);
  Rounds(execution.get());
}

}  // namespace
}  // namespace millrace
