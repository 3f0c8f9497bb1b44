// Faults on purpose on the whole tree, and what they must not do to others.
#include <gtest/gtest.h>
#include <signal.h>

#include <vector>

#include "services/e2e/child.h"
#include "services/e2e/http_call.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

using nlohmann::json;

uint64_t Counter(Tree& tree, const std::string& process, const char* name) {
  const json p = tree.Process(process);
  return p.is_object() ? p["counters"].value(name, uint64_t{0}) : 0;
}

// A request to `digits`, whose rows differ by `seed`.
std::string DigitsBody(int seed, const std::string& id = "") {
  json data = json::array();
  for (int i = 0; i < 64; ++i) data.push_back((i * 7 + seed) % 17);
  json body = {
      {"inputs", {{{"name", "input"}, {"shape", {1, 64}}, {"datatype", "FP32"}, {"data", data}}}}};
  if (!id.empty()) body["id"] = id;
  return body.dump();
}

HttpCall AskDigits(Tree& tree, const std::string& body, const std::string& fault = "") {
  return HttpCall(tree.Address("http"), "/v2/models/digits/infer", body,
                  fault.empty() ? "" : "millrace-fault: " + fault + "\r\n");
}

json Outputs(const HttpAnswer& answer) { return answer.Json()["outputs"]; }

TEST(Fault, APlanThatNobodyEnabledEndsTheStart) {
  Tree::Options options;
  options.config = "faults: {rules: [{stage: features, kind: loss}]}\n";
  Tree tree(options);
  EXPECT_EQ(tree.keeper().Wait(), 65);
}

// 5 % delay and 1 % loss on a stage: each request is answered right, or with the code that the
// README names for one that was lost.
TEST(Fault, DelayAndLossOfAStageAreAnsweredRightOrByTheDeadline) {
  Tree::Options options;
  options.enable_faults = true;
  options.config =
      "ingress: {default_deadline_ms: 1500}\n"
      "faults:\n  seed: 11\n  rules:\n"
      "    - {stage: features, kind: delay, delay_ms: 2, fraction: 0.05}\n"
      "    - {stage: features, kind: loss, fraction: 0.01}\n";
  auto tree = Tree::Start(options);
  const json report =
      GoldenLoad(*tree, "randhie", true, {"--in_flight=32", "--requests=3000", "--duration_ms=0"})
          .Report();
  ASSERT_TRUE(report.is_object());
  EXPECT_EQ(report["sent"], 3000) << report.dump();
  EXPECT_EQ(report["mismatched"], 0) << report.dump();
  const int lost = report["failed"];
  EXPECT_EQ(report["answered"].get<int>() + lost, 3000) << report.dump();
  EXPECT_GT(lost, 10) << report.dump();
  EXPECT_LT(lost, 60) << report.dump();
  for (const auto& [why, count] : report["failures"].items()) {
    EXPECT_EQ(why.rfind("DEADLINE_EXCEEDED", 0), 0u) << why;
  }
  // About 5 in 100 beside the lost ones, and nobody died of it.
  EXPECT_GT(Counter(*tree, "features0", "injected"), static_cast<uint64_t>(lost) + 90);
  EXPECT_EQ(tree->Status()["deaths"], 0);
  tree->WaitUntil("nothing is held", [&] {
    return Counter(*tree, "ingress0", "in_flight") + Counter(*tree, "ingress0", "limbo") +
               Counter(*tree, "features0", "blocks_taken") ==
           0;
  });
  EXPECT_EQ(tree->Stop(), 0);
}

// Each kind that a request can ask for by its header, and what its client is told.
TEST(Fault, EveryKindIsAnsweredAsDocumented) {
  Tree::Options options;
  options.enable_faults = true;
  options.config =
      "faults:\n  rules:\n"
      "    - {stage: ingress, kind: error, header: refuse}\n"
      "    - {stage: execution, kind: error, header: error}\n"
      "    - {stage: execution, kind: no_memory, header: memory}\n"
      "    - {stage: execution, kind: wrong_output, header: wrong}\n"
      "    - {stage: execution, kind: delay, delay_ms: 20, busy: true, header: busy}\n"
      "    - {stage: execution, kind: crash, signal: KILL, once: true, header: kill}\n"
      "    - {stage: execution, kind: hang, once: true, header: hang}\n"
      "    - {stage: execution, kind: device_lost, once: true, header: device}\n"
      "    - {stage: aggregation, kind: crash, signal: ABRT, once: true, header: abort}\n";
  auto tree = Tree::Start(options);
  const auto ask = [&](const char* fault) {
    return AskDigits(*tree, DigitsBody(3), fault).Finish();
  };
  const HttpAnswer right = ask("");
  ASSERT_EQ(right.code, 200) << right.body;
  EXPECT_EQ(ask("refuse").code, 503);
  EXPECT_EQ(ask("error").code, 503);
  EXPECT_EQ(ask("memory").code, 429);
  const HttpAnswer wrong = ask("wrong");
  EXPECT_EQ(wrong.code, 200) << wrong.body;
  EXPECT_NE(Outputs(wrong), Outputs(right));
  // These end the worker, once: the request is replayed and right.
  uint64_t deaths = 0;
  for (const char* fault : {"busy", "kill", "hang", "device", "abort", "unknown"}) {
    const HttpAnswer answer = ask(fault);
    EXPECT_EQ(answer.code, 200) << fault << answer.body;
    EXPECT_EQ(Outputs(answer), Outputs(right)) << fault;
    deaths += fault != std::string("busy") && fault != std::string("unknown");
    EXPECT_EQ(tree->Status()["deaths"], deaths) << fault;
  }
  EXPECT_EQ(tree->Status()["hangs"], 1);
  EXPECT_EQ(tree->Status()["poisoned"], 0);
  EXPECT_EQ(tree->Stop(), 0);
}

constexpr char kPoisonPlan[] =
    "ingress: {default_deadline_ms: 30000}\n"
    "supervisor: {hang_ms: 10000}\n"
    "faults:\n  rules:\n"
    "    - {stage: execution, kind: crash, model: digits, header: boom}\n"
    "    - {stage: execution, kind: delay, delay_ms: 3000, header: slow}\n"
    "    - {stage: features, kind: delay, delay_ms: 1500, header: slow}\n";

TEST(Fault, OnePoisonRequestInABatchOf32CostsTheOthersNothing) {
  constexpr int kBatch = 32, kPoison = 17;
  Tree::Options options;
  options.enable_faults = true;
  options.config = kPoisonPlan;
  auto tree = Tree::Start(options);
  std::vector<json> right;
  for (int i = 0; i < kBatch; ++i) {
    const HttpAnswer answer = AskDigits(*tree, DigitsBody(i)).Finish();
    ASSERT_EQ(answer.code, 200) << answer.body;
    right.push_back(Outputs(answer));
  }
  // While the worker is held up, the others queue up behind it and become one batch.
  HttpCall slow = AskDigits(*tree, DigitsBody(0), "slow");
  tree->WaitUntil("the worker is held up",
                  [&] { return Counter(*tree, "execution0", "injected") == 1; });
  std::vector<HttpCall> calls;
  for (int i = 0; i < kBatch; ++i) {
    calls.push_back(AskDigits(*tree, DigitsBody(i, "request-" + std::to_string(i)),
                              i == kPoison ? "boom" : ""));
  }
  tree->WaitUntil("all are in flight",
                  [&] { return Counter(*tree, "ingress0", "in_flight") == kBatch + 1; });
  EXPECT_EQ(slow.Finish().code, 200);
  for (int i = 0; i < kBatch; ++i) {
    const HttpAnswer answer = calls[i].Finish();
    EXPECT_EQ(answer.code, i == kPoison ? 500 : 200) << i << answer.body;
    if (i == kPoison) continue;
    EXPECT_EQ(Outputs(answer), right[i]) << i;
  }
  EXPECT_GE(Counter(*tree, "ingress0", "replayed"), static_cast<uint64_t>(kBatch));
  json quarantine;
  tree->WaitUntil("the quarantine tells of it", [&] {
    quarantine = tree->Admin({{"verb", "quarantine"}});
    return quarantine.value("poisoned", 0) > 0;
  });
  ASSERT_EQ(quarantine["requests"].size(), 1u) << quarantine.dump();
  const json entry = quarantine["requests"][0];
  EXPECT_EQ(entry["model"], "digits");
  EXPECT_EQ(entry["rows"], 1);
  EXPECT_EQ(entry["tensors"][0]["bytes"], 256);
  ASSERT_EQ(entry["deaths"].size(), 2u);
  for (const json& death : entry["deaths"]) {
    EXPECT_EQ(death["stage"], "execution");
    EXPECT_EQ(death["signal"], SIGSEGV);
  }
  // It is found by the id that the client gave it, which is not told.
  EXPECT_EQ(quarantine.dump().find("request-"), std::string::npos);
  const auto listed = [&](const std::string& id) {
    return Child({"tools/millrace/millrace", "quarantine", "--json", "--id=" + id,
                  "--admin-socket=" + tree->admin_socket()},
                 true)
        .Output();
  };
  EXPECT_EQ(json::parse(listed("request-17"))["requests"].size(), 1u);
  EXPECT_EQ(json::parse(listed("request-16"))["requests"].size(), 0u);
  EXPECT_EQ(tree->Stop(), 0);
}

// Three windows of work for one worker that is held up: what is important takes the places of what
// is not, and whatever was let in is answered long before its deadline.
TEST(Fault, UnderOverloadTheLowestPriorityIsShedFirst) {
  constexpr int kWindow = 64;
  Tree::Options options;
  options.enable_faults = true;
  options.config =
      "ingress: {default_deadline_ms: 60000, max_in_flight: 128}\n"
      "supervisor: {hang_ms: 20000}\n"
      "faults:\n  rules:\n"
      "    - {stage: execution, kind: delay, delay_ms: 6000, header: slow}\n"
      "    - {stage: execution, kind: delay, delay_ms: 2, per: row, busy: true}\n";
  auto tree = Tree::Start(options);
  const auto ask = [&](int seed, int priority, const std::string& fault = "") {
    json body = json::parse(DigitsBody(seed));
    body["parameters"] = {{"priority", priority}};
    return AskDigits(*tree, body.dump(), fault);
  };
  HttpCall slow = ask(0, 1, "slow");
  tree->WaitUntil("the worker is held up",
                  [&] { return Counter(*tree, "execution0", "injected") >= 1; });
  std::vector<HttpCall> low, high;
  for (int i = 1; i < 2 * kWindow; ++i) low.push_back(ask(i, 200));
  tree->WaitUntil("the lane is full",
                  [&] { return Counter(*tree, "ingress0", "in_flight") == 2 * kWindow; });
  for (int i = 0; i < kWindow; ++i) high.push_back(ask(i, 10));
  for (HttpCall& call : high) EXPECT_EQ(call.Finish().code, 200);
  EXPECT_EQ(slow.Finish().code, 200);
  int answered = 0, shed = 0;
  for (HttpCall& call : low) {
    const HttpAnswer answer = call.Finish();
    answered += answer.code == 200;
    shed += answer.code == 503;
  }
  EXPECT_EQ(shed, kWindow);
  EXPECT_EQ(answered + shed, 2 * kWindow - 1);
  EXPECT_EQ(Counter(*tree, "ingress0", "expired"), 0u);
  tree->WaitUntil("nothing is held", [&] {
    return Counter(*tree, "ingress0", "in_flight") + Counter(*tree, "ingress0", "limbo") == 0;
  });
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Fault, TwoUnrelatedDeathsAtTwoStagesPoisonNobody) {
  Tree::Options options;
  options.enable_faults = true;
  options.config = kPoisonPlan;
  auto tree = Tree::Start(options);
  const std::string body =
      R"({"instances": [{"coinsurance": 0, "incentive": 475.2, "limitation": 0,)"
      R"( "diseases": 10.57626, "health": "excellent", "plan": "family",)"
      R"( "expenditure_limit": 100}]})";
  const auto ask = [&](const std::string& fields) {
    return HttpCall(tree->Address("http"), "/v1/models/randhie_lgbm:predict", body, fields);
  };
  const HttpAnswer right = ask("").Finish();
  ASSERT_EQ(right.code, 200) << right.body;
  HttpCall call = ask("millrace-fault: slow\r\n");
  for (const char* stage : {"features0", "execution0"}) {
    const json before = tree->Process(stage);
    tree->WaitUntil("the request is executed there",
                    [&] { return Counter(*tree, stage, "injected") == 1; });
    kill(before["pid"].get<int>(), SIGSEGV);
    tree->WaitUntil("another incarnation", [&] {
      const json now = tree->Process(stage);
      return now.is_object() && now["incarnation"] != before["incarnation"];
    });
  }
  const HttpAnswer answer = call.Finish();
  EXPECT_EQ(answer.code, 200) << answer.body;
  EXPECT_EQ(answer.body, right.body);
  EXPECT_EQ(Counter(*tree, "ingress0", "poisoned"), 0u);
  EXPECT_EQ(tree->Admin({{"verb", "quarantine"}})["poisoned"], 0);
  EXPECT_EQ(tree->Status()["deaths"], 2);
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Fault, AModelThatKillsItsWorkersIsShutOutAndTheOthersGoOn) {
  Tree::Options options;
  options.enable_faults = true;
  options.config =
      "supervisor: {storm_intensity: 4, storm_rest_ms: 4000}\n"
      "ingress: {probe_period_ms: 0}\n"  // the probe is the request that this test sends
      "faults:\n  rules:\n"
      "    - {stage: execution, kind: crash, model: digits, header: boom}\n";
  auto tree = Tree::Start(options);
  GoldenLoad load(*tree, "randhie", true, {"--in_flight=8", "--duration_ms=0"});
  tree->WaitUntil("the load runs", [&] { return Counter(*tree, "ingress0", "answered") > 500; });
  // Each is executed twice before it is poison: the fourth death opens the breaker.
  int poisoned = 0;
  HttpAnswer answer;
  for (int i = 0; i < 20 && answer.code != 503; ++i) {
    answer = AskDigits(*tree, DigitsBody(i), "boom").Finish();
    poisoned += answer.code == 500;
  }
  EXPECT_EQ(answer.code, 503) << answer.body;
  EXPECT_NE(answer.body.find("try again in"), std::string::npos) << answer.body;
  EXPECT_EQ(poisoned, 2);
  EXPECT_EQ(tree->Status()["deaths"], 4);
  json breakers;
  tree->WaitUntil("status shows the breaker", [&] {
    breakers = tree->Status()["breakers"];
    return breakers.size() == 1;
  });
  EXPECT_EQ(breakers[0]["model"], "digits");
  tree->WaitUntil("the next worker serves the others", [&] {
    return HttpCall(tree->Address("http"), "/v2/models/randhie/ready", "").Finish().code == 200;
  });
  EXPECT_EQ(HttpCall(tree->Address("http"), "/v2/models/digits/ready", "").Finish().code, 503);
  // Half open: a probe that dies shuts it out again, one that is answered lets everybody in.
  tree->WaitUntil("a probe is let through", [&] {
    answer = AskDigits(*tree, DigitsBody(1), "boom").Finish();
    return tree->Status()["deaths"] == 5;
  });
  EXPECT_EQ(AskDigits(*tree, DigitsBody(1)).Finish().code, 503);
  tree->WaitUntil("the model answers again",
                  [&] { return AskDigits(*tree, DigitsBody(1)).Finish().code == 200; });
  tree->WaitUntil("the breaker is closed", [&] { return tree->Status()["breakers"].empty(); });
  EXPECT_EQ(HttpCall(tree->Address("http"), "/v2/models/digits/ready", "").Finish().code, 200);
  const json report = load.End();
  EXPECT_GT(report["answered"].get<int>(), 500);
  EXPECT_EQ(report["failed"], 0) << report.dump();
  EXPECT_EQ(report["mismatched"], 0) << report.dump();
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
