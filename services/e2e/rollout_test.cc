// Rollouts on the whole tree under load: versions that are worse are taken back by themselves, one
// that is not is promoted, whoever dies meanwhile.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "services/e2e/http_call.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kModel[] = "randhie_xgb";
// Weather that befalls both versions, and what version 2 alone does to whom it is planted for.
constexpr char kPlan[] =
    "ingress: {default_deadline_ms: 1500}\n"
    "supervisor: {storm_rest_ms: 300}\n"
    "faults:\n  seed: 5\n  rules:\n"
    "    - {stage: execution, kind: delay, delay_ms: 5, fraction: 0.05, header: weather}\n"
    "    - {stage: execution, kind: loss, fraction: 0.01, header: weather}\n"
    "    - {stage: execution, kind: delay, delay_ms: 15, model: randhie_xgb, version: 2, header: "
    "slow}\n"
    "    - {stage: execution, kind: wrong_output, fraction: 0.03, model: randhie_xgb, version: 2, "
    "header: wrong}\n"
    "    - {stage: execution, kind: crash, model: randhie_xgb, version: 2, header: crash}\n";

// One model in two versions that answer alike.
std::string Repository() {
  const std::string dir = std::string(getenv("TEST_TMPDIR")) + "/models";
  fs::remove_all(dir);
  fs::create_directories(dir);
  const std::string model = dir + "/" + kModel;
  fs::copy(std::string("deploy/demo/models/") + kModel, model, fs::copy_options::recursive);
  fs::copy(model + "/1", model + "/2", fs::copy_options::recursive);
  fs::permissions(model + "/config.pbtxt", fs::perms::owner_write, fs::perm_options::add);
  std::ofstream(model + "/config.pbtxt", std::ios::app) << "version_policy { all { } }\n";
  return dir;
}

// Clients that ask without an end, each request with an id of its own.
class Load {
 public:
  Load(Tree& tree, const std::string& fault) : address_(tree.Address("http")), fault_(fault) {
    for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this, i] { Ask(i); });
  }
  ~Load() { End(); }
  // To be called before the server ends.
  void End() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  // Answers since the last call, by the version that gave them; others by their code.
  std::map<std::string, int> Take() {
    std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(answers_, {});
  }

 private:
  static constexpr int kThreads = 8;

  void Ask(int thread) {
    json data = json::array();
    for (int i = 0; i < 15; ++i) data.push_back(i % 3);
    for (int n = 0; !stop_; ++n) {
      data[0] = n % 7;
      const json body = {
          {"id", std::to_string(thread) + "-" + std::to_string(n)},
          {"inputs",
           {{{"name", "input"}, {"shape", {1, 15}}, {"datatype", "FP32"}, {"data", data}}}}};
      const HttpAnswer answer =
          HttpCall(address_, std::string("/v2/models/") + kModel + "/infer", body.dump(),
                   fault_.empty() ? "" : "millrace-fault: " + fault_ + "\r\n")
              .Finish();
      const std::string from = answer.code == 200 ? answer.Json().value("model_version", "none")
                                                  : "code " + std::to_string(answer.code);
      std::lock_guard<std::mutex> lock(mutex_);
      ++answers_[from];
    }
  }

  const std::string address_, fault_;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::map<std::string, int> answers_;
  std::vector<std::thread> threads_;
};

class RolloutTest : public ::testing::Test {
 protected:
  RolloutTest() {
    Tree::Options options;
    options.repository = Repository();
    options.enable_faults = true;
    options.config = kPlan;
    tree_ = Tree::Start(options);
    tree_->WaitUntil("the server answers", [&] { return tree_->Status().value("ready", false); });
    const json set = tree_->Admin(
        {{"verb", "route"}, {"action", "promote"}, {"name", kModel}, {"version", "1"}});
    EXPECT_TRUE(set.value("ok", false)) << set.dump();
    before_ = Route();
  }

  // The rules of the model's route, as `route list` tells them.
  json Route() {
    const json list = tree_->Admin({{"verb", "route"}, {"action", "list"}});
    for (const json& route : list.value("routes", json::array())) {
      if (route["name"] == kModel) return route["rules"];
    }
    return json();
  }
  json Now() {
    const json reply = tree_->Admin({{"verb", "rollout"}, {"action", "status"}, {"name", kModel}});
    if (!reply.is_object() || !reply.contains("rollouts") || reply["rollouts"].empty()) return {};
    return reply["rollouts"][0];
  }
  void Start(json more) {
    json start = {{"verb", "rollout"}, {"action", "start"}, {"name", kModel},
                  {"to", "2"},         {"every_ms", 2000},  {"patience_ms", 120'000}};
    start.update(more);
    const json reply = tree_->Admin(start);
    ASSERT_TRUE(reply.value("ok", false)) << reply.dump();
  }
  json WaitForEnd() {
    json last;
    tree_->WaitUntil("the rollout ends", [&] {
      last = Now();
      const std::string phase = last.is_object() ? last.value("phase", "") : "";
      return phase == "promoted" || phase == "rolled_back" || phase == "aborted" ||
             phase == "overruled";
    });
    fprintf(stderr, "rollout: %s, step %d: %s; seen: %s\n", last["phase"].dump().c_str(),
            last["step"].get<int>(), last["reason"].dump().c_str(),
            last.value("seen", json()).dump().c_str());
    return last;
  }
  // In the first step, for this reason; the route is what it was, and version 1 has all requests.
  void ExpectTakenBack(Load& load, const std::string& why) {
    const json ended = WaitForEnd();
    EXPECT_EQ(ended["phase"], "rolled_back") << ended.dump();
    EXPECT_EQ(ended["step"], 0) << ended.dump();
    EXPECT_EQ(ended["reason"].get<std::string>().find(why), 0u) << ended.dump();
    EXPECT_EQ(Route(), before_);
    load.Take();
    std::map<std::string, int> seen;
    tree_->WaitUntil("a thousand requests later", [&] {
      for (const auto& [version, count] : load.Take()) seen[version] += count;
      return seen["1"] >= 1000;
    });
    // Those that were in flight when the answers were taken the first time.
    EXPECT_LE(seen["2"], 8);
  }

  std::unique_ptr<Tree> tree_;
  json before_;
};

json Limits(int requests, int copies) {
  return {{"min_requests", requests}, {"min_compared", copies}};
}

TEST_F(RolloutTest, ASlowVersionIsTakenBack) {
  Load load(*tree_, "slow");
  Start({{"steps", {20, 50, 100}}, {"limits", Limits(100, 50)}});
  ExpectTakenBack(load, "slow:");
  load.End();
  EXPECT_EQ(tree_->Stop(), 0);
}

// Some 800 copies show 3 % where 1 % is the limit: the step waits for as many.
TEST_F(RolloutTest, AVersionThatIsWrongOn3PercentIsTakenBack) {
  Load load(*tree_, "wrong");
  Start({{"steps", {50, 100}}, {"limits", Limits(100, 2000)}});
  ExpectTakenBack(load, "changed decisions:");
  load.End();
  EXPECT_EQ(tree_->Stop(), 0);
}

TEST_F(RolloutTest, ACrashingVersionIsTakenBack) {
  Load load(*tree_, "crash");
  Start({{"steps", {10, 50, 100}}, {"every_ms", 60'000}, {"limits", Limits(100, 50)}});
  const json ended = WaitForEnd();
  EXPECT_EQ(ended["phase"], "rolled_back") << ended.dump();
  EXPECT_EQ(ended["step"], 0) << ended.dump();
  EXPECT_EQ(Route(), before_);
  // Within the step, not at its end.
  const json& journal = ended["journal"];
  EXPECT_LT(journal.back()["ms"].get<int64_t>() - journal.front()["ms"].get<int64_t>(), 60'000);
  load.Take();
  int answered = 0;
  tree_->WaitUntil("version 1 answers again", [&] { return (answered += load.Take()["1"]) > 200; });
  load.End();
  EXPECT_EQ(tree_->Stop(), 0);
}

// The weather befalls both versions; registry and supervisor are killed in the middle of it.
TEST_F(RolloutTest, AGoodVersionIsPromotedInFoulWeatherWhoeverDies) {
  Load load(*tree_, "weather");
  Start({{"steps", {20, 50, 100}}, {"every_ms", 3000}, {"limits", Limits(100, 100)}});
  tree_->WaitUntil("version 2 answers", [&] { return load.Take()["2"] > 20; });
  tree_->Hurt("registry0", SIGKILL);
  tree_->WaitUntil("the rollout is there again", [&] { return Now().is_object(); });
  EXPECT_NE(Now()["phase"], "rolled_back") << Now().dump();
  tree_->KillSupervisor();
  const json ended = WaitForEnd();
  EXPECT_EQ(ended["phase"], "promoted") << ended.dump();
  load.Take();
  std::map<std::string, int> seen;
  tree_->WaitUntil("a thousand requests later", [&] {
    for (const auto& [version, count] : load.Take()) seen[version] += count;
    return seen["2"] >= 1000;
  });
  EXPECT_LE(seen["1"], 8);
  EXPECT_GT(seen["code 504"], 0) << "the weather was there";
  load.End();
  EXPECT_EQ(tree_->Stop(), 0);
}

// What a person says of it, and what status says then.
TEST_F(RolloutTest, PausedResumedAndAbortedByHand) {
  Load load(*tree_, "");
  Start({{"steps", {20, 100}}, {"limits", Limits(10, 10)}, {"every_ms", 3'600'000}});
  EXPECT_GT(tree_->Status().value("watched_versions", 0), 0);
  const auto tell = [&](const char* action) {
    const json reply = tree_->Admin({{"verb", "rollout"}, {"action", action}, {"name", kModel}});
    EXPECT_TRUE(reply.value("ok", false)) << reply.dump();
    return reply["rollouts"][0]["phase"].get<std::string>();
  };
  EXPECT_EQ(tell("pause"), "paused");
  EXPECT_EQ(tell("resume"), "running");
  tree_->WaitUntil("copies are compared", [&] { return Now()["seen"]["compared_rows"] > 0; });
  EXPECT_EQ(Now()["seen"]["changed_rows"], 0) << "both versions are the same";
  EXPECT_EQ(tell("abort"), "aborted");
  EXPECT_EQ(Route(), before_);
  load.End();
  EXPECT_EQ(tree_->Stop(), 0);
}

}  // namespace
}  // namespace millrace
