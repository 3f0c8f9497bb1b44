// Routes on the whole tree: what is promised of switches, splits, shadows and rollbacks, under
// load.
#include <gtest/gtest.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <set>
#include <sstream>

#include "common/check.h"
#include "common/clock.h"
#include "services/e2e/http_call.h"
#include "services/e2e/routed_rig.h"

namespace millrace {
namespace {

using nlohmann::json;
using Way = RoutedLoad::Seen::Way;

std::string Command(const std::string& words, int* code = nullptr) {
  FILE* pipe = popen(("tools/millrace/millrace " + words + " 2>&1").c_str(), "r");
  MR_CHECK(pipe != nullptr, "a shell for the test");
  std::string said;
  char buffer[4096];
  size_t bytes;
  while ((bytes = fread(buffer, 1, sizeof buffer, pipe)) > 0) said.append(buffer, bytes);
  const int status = pclose(pipe);
  if (code != nullptr) *code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return said;
}

class RoutesTest : public testing::Test {
 protected:
  RoutesTest() {
    Start();
    client_ = std::make_unique<RoutedClient>(tree_->Address("http"));
    for (int version : {1, 2, 3}) {
      const std::string name = std::to_string(version);
      const RoutedAnswer answer = client_->Ask("/v2/models/m/versions/" + name + "/infer");
      EXPECT_EQ(answer.code, 200) << answer.body;
      EXPECT_EQ(answer.version, name);
      expected_[name] = answer.data;
    }
    EXPECT_EQ((std::set<std::string>{expected_["1"], expected_["2"], expected_["3"]}).size(), 3u);
  }

  // On the repository itself, not on a copy.
  void Start() {
    Tree::Options options;
    options.repository = "";
    options.config = "repository: " + repository_.root() + "\n";
    tree_ = Tree::Start(options);
  }
  json Route(json command) {
    command["verb"] = "route";
    const json reply = tree_->Admin(command);
    EXPECT_TRUE(reply.is_object() && reply.value("ok", false)) << command << reply;
    EXPECT_EQ(reply.value("message", "?"), "") << command << reply;
    return reply;
  }
  void Promote(int version) {
    Route({{"action", "promote"}, {"name", "m"}, {"version", std::to_string(version)}});
  }
  RoutedAnswer Ask(const std::string& fields = "", const std::string& path = "") {
    return client_->Ask(path + "/v2/models/m/infer", fields);
  }
  // Every answer was its version's.
  void ExpectTrue(const RoutedLoad& load) { EXPECT_EQ(load.wrong(), 0u); }

  RoutedRepository repository_;
  std::unique_ptr<Tree> tree_;
  std::unique_ptr<RoutedClient> client_;
  std::map<std::string, std::string> expected_;  // what each version says
};

TEST_F(RoutesTest, TheCommandSwitchesWhatAnswers) {
  const std::string socket = " --admin-socket " + tree_->admin_socket();
  EXPECT_EQ(Ask().version, "3");  // the latest
  int code = -1;
  Command("route promote m 1 --why 'as a test'" + socket, &code);
  EXPECT_EQ(code, 0);
  EXPECT_EQ(Ask().version, "1");
  Command("route set m --header x-stage=canary --to 2 --label testers" + socket, &code);
  EXPECT_EQ(code, 0);
  Command("route set m --path /staging --to 3" + socket, &code);
  EXPECT_EQ(code, 0);
  EXPECT_EQ(Ask("x-stage: canary\r\n").version, "2");
  EXPECT_EQ(Ask("x-stage: other\r\n").version, "1");
  EXPECT_EQ(Ask("", "/staging").version, "3");
  EXPECT_EQ(Ask("", "/production").code, 404);
  // A version that is named is not routed; an alias answers by its name.
  EXPECT_EQ(client_->Ask("/v2/models/m/versions/2/infer").version, "2");
  Command("route set champion --model m --to 2" + socket, &code);
  EXPECT_EQ(code, 0);
  const RoutedAnswer alias = client_->Ask("/v2/models/champion/infer");
  EXPECT_EQ(alias.model, "champion");
  EXPECT_EQ(alias.version, "2");
  EXPECT_EQ(alias.data, expected_["2"]);
  const std::string list = Command("route list" + socket);
  EXPECT_NE(list.find("x-stage=canary: 2 (100 %)  # testers"), std::string::npos) << list;
  EXPECT_NE(list.find("/staging: 3 (100 %)"), std::string::npos) << list;
  const std::string refused = Command("route promote m 9" + socket, &code);
  EXPECT_EQ(code, 1);
  EXPECT_NE(refused.find("version 9 of 'm' is not loaded"), std::string::npos) << refused;
  const std::string history = Command("route history m" + socket);
  EXPECT_NE(history.find("as a test"), std::string::npos) << history;
  Command("route rollback m" + socket, &code);
  EXPECT_EQ(code, 0);
  EXPECT_EQ(Ask("", "/staging").code, 404);
  EXPECT_EQ(tree_->Status()["routes"]["routes"].size(), 2u);
}

// The split is that of the weights, each client keeps its version, and growing moves clients one
// way.
TEST_F(RoutesTest, ACanaryTakesItsShareAndKeepsItsClients) {
  constexpr int kClients = 1500;
  std::map<int, std::string> before;
  for (const int share : {10, 40}) {
    Route({{"action", "canary"}, {"name", "m"}, {"version", "2"}, {"share", share}});
    int canaries = 0;
    for (int i = 0; i < kClients; ++i) {
      const std::string field = "millrace-client-key: user " + std::to_string(i) + "\r\n";
      const RoutedAnswer answer = Ask(field);
      ASSERT_EQ(answer.data, expected_[answer.version]);
      if (i % 10 == 0) {
        EXPECT_EQ(Ask(field).version, answer.version);
      }
      canaries += answer.version == "2";
      if (before[i] == "2") {
        EXPECT_EQ(answer.version, "2") << i;
      }
      before[i] = answer.version;
    }
    const double p = share / 100.0;
    EXPECT_NEAR(canaries, kClients * p, 5 * sqrt(kClients * p * (1 - p))) << share;
  }
  // The parameter of the body is as good as the header, and the request's id as the last of all.
  for (int i = 0; i < 50; ++i) {
    const std::string key = "user " + std::to_string(i);
    EXPECT_EQ(
        client_->Ask("/v2/models/m/infer", "", R"("millrace-client-key":")" + key + "\"").version,
        before[i]);
  }
}

TEST_F(RoutesTest, AShadowIsComparedAndNeverReturned) {
  Promote(1);
  Route({{"action", "shadow"}, {"name", "m"}, {"version", "2"}, {"share", 100}});
  for (int i = 0; i < 200; ++i) {
    const RoutedAnswer answer = Ask();
    ASSERT_EQ(answer.version, "1");
    ASSERT_EQ(answer.data, expected_["1"]);
  }
}

TEST_F(RoutesTest, TheChainAnswersWhereTheVersionIsGone) {
  const json constant = {
      {"constant",
       {{{"name", "prediction"}, {"datatype", "FP32"}, {"shape", {1, 1}}, {"data", {0.125}}}}}};
  Route({{"action", "set"},
         {"name", "m"},
         {"rule",
          {{"to", {{{"version", 1}}}},
           {"fallbacks", {{{"model", "small"}, {"version", 1}}, constant}}}}});
  EXPECT_EQ(Ask().version, "1");
  std::filesystem::remove_all(repository_.root() + "/m/1");
  tree_->Admin({{"verb", "reload"}});
  RoutedAnswer answer;
  tree_->WaitUntil("the chain answers", [&] { return !(answer = Ask()).fallback.empty(); });
  EXPECT_EQ(answer.fallback, "small/1");
  EXPECT_EQ(answer.model, "m");
  const json status = tree_->Status();
  EXPECT_EQ(status["routes"]["routes"][0]["rules"][0]["targets"][0]["loaded"], false);
}

// The admin API: the same, over HTTP.
TEST_F(RoutesTest, TheNetworkMayAskToo) {
  const auto ask = [this](const std::string& path, const json& body = nullptr) {
    return HttpCall(tree_->Address("http"), path, body.is_null() ? "" : body.dump()).Finish();
  };
  const std::string m = "/v2/routes/m";
  HttpAnswer answer = ask(m, {{"action", "promote"}, {"version", "1"}, {"why", "by HTTP"}});
  ASSERT_EQ(answer.code, 200) << answer.body;
  EXPECT_EQ(Ask().version, "1");  // in force when it is answered
  EXPECT_EQ(ask(m, {{"action", "canary"}, {"version", "2"}, {"share", 25}}).code, 200);
  answer = ask(m, {{"action", "promote"}, {"version", "9"}});
  EXPECT_EQ(answer.code, 400);
  EXPECT_NE(answer.body.find("version 9 of 'm' is not loaded"), std::string::npos) << answer.body;
  EXPECT_EQ(ask("/v2/routes/nobody").code, 404);
  EXPECT_EQ(ask(m, {{"action", "dance"}}).code, 400);
  answer = ask("/v2/routes");
  ASSERT_EQ(answer.code, 200) << answer.body;
  EXPECT_EQ(answer.body.find(repository_.root()), std::string::npos) << answer.body;
  const json route = answer.Json()["routes"][0];
  EXPECT_EQ(route["rules"][0]["to"][1]["weight"], 25);
  EXPECT_EQ(route["last"]["who"], "http:127.0.0.1");
  // Back, one change further each time.
  answer = ask(m, {{"action", "rollback"}, {"why", "worse"}});
  EXPECT_EQ(answer.code, 200) << answer.body;
  EXPECT_EQ(Ask().version, "1");
  EXPECT_EQ(ask(m, {{"action", "rollback"}}).code, 200);
  EXPECT_EQ(Ask().version, "3");
  EXPECT_EQ(ask(m, {{"action", "rollback"}}).code, 400);
  const json changes = ask(m + "/history").Json()["changes"];
  ASSERT_EQ(changes.size(), 4u);
  EXPECT_EQ(changes[1]["why"], "worse");
  EXPECT_EQ(changes[3]["why"], "by HTTP");
  EXPECT_EQ(changes[3]["who"], "http:127.0.0.1");
  // Rollouts as well.
  const std::string rollout = "/v2/rollouts/m";
  answer = ask(rollout, {{"action", "start"}, {"from", "3"}, {"to", "2"}, {"steps", {50, 100}}});
  ASSERT_EQ(answer.code, 200) << answer.body;
  EXPECT_EQ(ask(m).Json()["routes"][0]["rules"][0]["to"][1]["weight"], 50);
  EXPECT_EQ(ask(rollout).Json()["rollouts"][0]["phase"], "running");
  EXPECT_EQ(ask(rollout, {{"action", "abort"}}).code, 200);
  const json ended = ask("/v2/rollouts").Json()["rollouts"][0];
  EXPECT_EQ(ended["phase"], "aborted");
  EXPECT_EQ(ended["journal"][0]["who"], "http:127.0.0.1");
  EXPECT_EQ(Ask().version, "3");
}

bool HasStopped(pid_t pid) {
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::ifstream file(task.path() / "stat");
    const std::string stat{std::istreambuf_iterator<char>(file), {}};
    if (stat.substr(stat.rfind(')') + 1, 2) != " T") return false;
  }
  return true;
}

// It may have been done, and a rollback that is asked for once more would go further: so it is not
// asked again by itself, and not called undone.
TEST_F(RoutesTest, AChangeWhoseSupervisorDiesIsNotSaidToBeUndone) {
  Promote(1);
  Promote(2);
  pid_t registry = 0;
  const json status = tree_->Status();
  for (const json& process : status["processes"]) {
    if (process["name"] == "registry0") registry = process["pid"];
  }
  ASSERT_EQ(kill(registry, SIGSTOP), 0);
  // The signal is taken when a thread comes to run; the others go on until then.
  tree_->WaitUntil("the registry stands still", [&] { return HasStopped(registry); });
  HttpCall call(tree_->Address("http"), "/v2/routes/m", R"({"action":"rollback"})");
  EXPECT_EQ(HttpCall(tree_->Address("http"), "/v2/health/live", "").Finish().code, 200);
  tree_->KillSupervisor();
  const HttpAnswer answer = call.Finish();
  EXPECT_EQ(answer.code, 504) << answer.body;
  EXPECT_NE(answer.body.find("the supervisor was replaced"), std::string::npos) << answer.body;
  ASSERT_EQ(kill(registry, SIGCONT), 0);
  tree_->WaitReady();
  Promote(3);
  EXPECT_EQ(Ask().version, "3");
}

struct Switch {
  int64_t asked_ns, done_ns;
  int version;
};

// At random, under load: each answer is that of a version that its route named while it was on its
// way.
TEST_F(RoutesTest, AThousandSwitchesAtRandom) {
  Promote(1);
  Route(
      {{"action", "set"},
       {"name", "m"},
       {"rule",
        {{"headers", {{{"name", "x-stage"}, {"value", "canary"}}}}, {"to", {{{"version", 2}}}}}}});
  Route({{"action", "set"},
         {"name", "m"},
         {"rule", {{"path", "/staging"}, {"to", {{{"version", 3}}}}}}});
  const char* wanted = getenv("SWITCHES");
  const int count = wanted == nullptr ? 1000 : atoi(wanted);
  std::mt19937 random(7);
  std::vector<Switch> switches = {{0, 0, 1}};
  RoutedLoad load(tree_->Address("http"), 4, expected_);
  for (int i = 0; i < count; ++i) {
    Switch one = {MonotonicNanos(), 0, switches.back().version};
    const bool back = i % 5 == 4 && switches.size() > 2;
    if (back) {
      Route({{"action", "rollback"}, {"name", "m"}});
      one.version = 0;  // known by what was before; see below
    } else {
      while (one.version == switches.back().version) one.version = 1 + random() % 3;
      Promote(one.version);
    }
    one.done_ns = MonotonicNanos();
    if (back) one.version = switches[switches.size() - 2].version;
    switches.push_back(one);
    if (back) continue;
  }
  const std::vector<RoutedLoad::Seen> seen = load.End();
  ExpectTrue(load);
  EXPECT_GT(load.answered(), 1000u);
  int64_t unexplained = 0;
  for (const RoutedLoad::Seen& one : seen) {
    ASSERT_NE(one.version, 0);
    if (one.way != Way::kPlain) {
      EXPECT_EQ(one.version, one.way == Way::kHeader ? 2 : 3);
      continue;
    }
    // A switch may be in force from when it was asked for until the next one is done.
    bool named = false;
    for (size_t i = 0; i < switches.size() && !named; ++i) {
      const int64_t until = i + 1 < switches.size() ? switches[i + 1].done_ns : INT64_MAX;
      named = switches[i].version == one.version && switches[i].asked_ns <= one.heard_ns &&
              until >= one.sent_ns;
    }
    unexplained += !named;
  }
  EXPECT_EQ(unexplained, 0);
  fprintf(stderr, "%d switches, %zu answers\n", count, seen.size());
}

// From the command to the last answer of the bad version: printed, not held against anything.
TEST_F(RoutesTest, ARollbackIsFasterThanAnyoneCanNotice) {
  constexpr int kRollbacks = 60;
  Promote(1);
  RoutedLoad load(tree_->Address("http"), 3, expected_);
  std::vector<std::pair<int64_t, int64_t>> rollbacks;  // asked, done
  for (int i = 0; i < kRollbacks; ++i) {
    Promote(2);
    const uint64_t answered = load.answered();
    tree_->WaitUntil("clients have the bad version",
                     [&] { return load.answered() > answered + 30; });
    const int64_t asked_ns = MonotonicNanos();
    Route({{"action", "rollback"}, {"name", "m"}});
    rollbacks.emplace_back(asked_ns, MonotonicNanos());
    const uint64_t after = load.answered();
    tree_->WaitUntil("clients are answered", [&] { return load.answered() > after + 30; });
  }
  const std::vector<RoutedLoad::Seen> seen = load.End();
  ExpectTrue(load);
  std::vector<double> ms, command_ms;
  for (size_t i = 0; i < rollbacks.size(); ++i) {
    const int64_t next = i + 1 < rollbacks.size() ? rollbacks[i + 1].first : INT64_MAX;
    int64_t last = rollbacks[i].first;
    for (const RoutedLoad::Seen& one : seen) {
      // Before the next promotion, which comes after the command's end and 30 answers.
      if (one.version != 2 || one.sent_ns > rollbacks[i].second || one.heard_ns > next) continue;
      last = std::max(last, one.heard_ns);
    }
    ms.push_back((last - rollbacks[i].first) / 1e6);
    command_ms.push_back((rollbacks[i].second - rollbacks[i].first) / 1e6);
  }
  std::sort(ms.begin(), ms.end());
  std::sort(command_ms.begin(), command_ms.end());
  fprintf(
      stderr,
      "rollback to the last answer of the bad version: median %.2f ms, max %.2f ms (of %zu); the "
      "command: median %.2f ms, max %.2f ms\n",
      ms[ms.size() / 2], ms.back(), ms.size(), command_ms[command_ms.size() / 2],
      command_ms.back());
}

// Whoever dies: the route stays what it was.
TEST_F(RoutesTest, RoutesOutliveEveryProcess) {
  Promote(1);
  RoutedLoad load(tree_->Address("http"), 2, expected_);
  for (const std::string name : {"registry0", "ingress0"}) {
    tree_->Hurt(name, SIGKILL);
    tree_->WaitUntil("it is answered", [&] { return Ask("x: y\r\n").code == 200; });
    EXPECT_EQ(Ask().version, "1") << name;
  }
  tree_->KillSupervisor();
  tree_->WaitReady();
  EXPECT_EQ(Ask().version, "1");
  Promote(2);  // and can be changed
  EXPECT_EQ(Ask().version, "2");
  Route({{"action", "rollback"}, {"name", "m"}});
  EXPECT_EQ(Ask().version, "1");
  for (const RoutedLoad::Seen& one : load.End()) EXPECT_NE(one.version, 3);
  ExpectTrue(load);
  // The whole server, too.
  EXPECT_EQ(tree_->Stop(), 0);
  Start();
  client_ = std::make_unique<RoutedClient>(tree_->Address("http"));
  EXPECT_EQ(Ask().version, "1");
}

}  // namespace
}  // namespace millrace
