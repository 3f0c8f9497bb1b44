// Readiness tells whether inference works: everything that makes it fail turns it false, while
// every process is there and says that it is ready.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "services/e2e/device_rig.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

using ::testing::HasSubstr;

constexpr char kFake[] = "kernels/device/testing/libfake_plugin.so";
// Hung workers are not replaced while a test looks.
constexpr char kPatient[] = "supervisor: {hang_ms: 9000}\ningress: {probe_period_ms: 200}\n";

struct Reply {
  int status = 0;  // 0: nobody answered
  std::string body;
};

Reply Get(Tree& tree, const std::string& path) {
  const std::string where = tree.Address("http");
  const size_t colon = where.find(':');
  if (colon == std::string::npos) return {};
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::stoi(where.substr(colon + 1))));
  inet_pton(AF_INET, where.substr(0, colon).c_str(), &address.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const std::string request =
      "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  std::string text;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(request.size())) {
    char buffer[4096];
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, n);
  }
  close(fd);
  Reply reply;
  if (sscanf(text.c_str(), "HTTP/1.1 %d", &reply.status) != 1) return {};
  reply.body = text.substr(text.find("\r\n\r\n") + 4);
  return reply;
}

bool Ready(Tree& tree) { return Get(tree, "/v2/health/ready").status == 200; }
bool NotReady(Tree& tree) {
  const Reply reply = Get(tree, "/v2/health/ready");
  return reply.status != 200 && reply.status != 0;
}
bool ModelReady(Tree& tree, const std::string& model) {
  return Get(tree, "/v2/models/" + model + "/ready").status == 200;
}

nlohmann::json GoldenOf(Tree& tree, const std::string& name) {
  const nlohmann::json status = tree.Status();
  for (const auto& model : status["catalog"]["models"]) {
    if (model["name"] == name) return model["golden"];
  }
  return nullptr;
}

std::string StatusText(Tree& tree) {
  return Child({"tools/millrace/millrace", "status", "--admin-socket=" + tree.admin_socket()}, true)
      .Output();
}

class Faults {
 public:
  Faults() : path_(std::string(getenv("TEST_TMPDIR")) + "/faults") {
    setenv("MILLRACE_FAKE_DEVICE", path_.c_str(), 1);
    Set("");
  }
  void Set(const std::string& faults) { std::ofstream(path_) << faults << "\n"; }

 private:
  std::string path_;
};

// Stops a process for as long as it lives; it must be gone on before the tree is stopped.
class Stopped {
 public:
  Stopped(Tree& tree, const std::string& name) : pid_(tree.Process(name)["pid"]) {
    kill(pid_, SIGSTOP);
  }
  ~Stopped() { kill(pid_, SIGCONT); }

 private:
  int pid_;
};

std::unique_ptr<Tree> Patient() {
  Tree::Options options;
  options.config = kPatient;
  auto tree = Tree::Start(options);
  tree->WaitUntil("it is ready", [&] { return Ready(*tree); });
  return tree;
}

TEST(Ready, AtTheStartEveryModelHasAnsweredAndItsAgeIsTold) {
  auto tree = Patient();
  // One lane says that it is ready; the status is of all of them.
  EXPECT_EQ(tree->Admin({{"verb", "wait_ready"}, {"timeout_ms", 60'000}})["ready"], true);
  for (const char* model : {"breast_cancer", "digits", "randhie", "randhie_lgbm", "randhie_xgb"}) {
    const nlohmann::json golden = GoldenOf(*tree, model);
    EXPECT_EQ(golden["ready"], true) << model << golden;
    EXPECT_TRUE(golden["age_ms"].is_number()) << model << golden;
    EXPECT_TRUE(golden["last_failure"].is_null()) << model << golden;
  }
  EXPECT_THAT(StatusText(*tree), HasSubstr("ready, right "));
  EXPECT_EQ(tree->Process("ingress0")["counters"]["answered"], 0) << "they are no clients";
  EXPECT_GT(tree->Process("execution0")["counters"]["answered"], 0);
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Ready, ExecutionStoppedTurnsEverythingFalse) {
  auto tree = Patient();
  {
    Stopped stopped(*tree, "execution0");
    tree->WaitUntil("it is not ready", [&] { return NotReady(*tree); });
    tree->WaitUntil("no model is ready",
                    [&] { return !ModelReady(*tree, "digits") && !ModelReady(*tree, "randhie"); });
    EXPECT_EQ(tree->Process("execution0")["state"], "ready") << "as a process, it is";
    EXPECT_EQ(tree->Status()["ready"], false);
    EXPECT_EQ(Get(*tree, "/v2/health/live").status, 200);
    tree->WaitUntil("the failure is told", [&] {
      return GoldenOf(*tree, "digits")["last_failure"] == "no answer for a probe period";
    });
    EXPECT_THAT(StatusText(*tree), HasSubstr("NOT READY, right "));
    // Older than a period by now, and counted on.
    EXPECT_GE(GoldenOf(*tree, "digits")["age_ms"], 200);
  }
  tree->WaitUntil("it is ready again", [&] { return Ready(*tree); });
  EXPECT_EQ(tree->Stop(), 0);
}

// Messages stand in the links of a stage that does not take them. Who does not need it stays ready.
TEST(Ready, StuckLinksTurnThoseFalseWhoNeedThem) {
  auto tree = Patient();
  const struct {
    const char* stage;
    const char* needs;
    const char* does_not;
  } cases[] = {{"aggregation0", "breast_cancer", "randhie_xgb"},
               {"features0", "randhie", "digits"}};
  for (const auto& c : cases) {
    {
      Stopped stopped(*tree, c.stage);
      tree->WaitUntil("it is not ready", [&] { return NotReady(*tree); });
      tree->WaitUntil("who needs it is not", [&] { return !ModelReady(*tree, c.needs); });
      EXPECT_TRUE(ModelReady(*tree, c.does_not)) << c.stage;
    }
    tree->WaitUntil("it is ready again", [&] { return Ready(*tree); });
  }
  EXPECT_EQ(tree->Stop(), 0);
}

// The supervisor replaces a hung worker; in between, the server says that it is not ready.
TEST(Ready, AHungWorkerIsReplacedAndTheGapIsTold) {
  Tree::Options options;
  options.config = "supervisor: {hang_ms: 1000}\ningress: {probe_period_ms: 100}\n";
  auto tree = Tree::Start(options);
  tree->WaitUntil("it is ready", [&] { return Ready(*tree); });
  const nlohmann::json before = tree->Process("execution0");
  kill(before["pid"].get<int>(), SIGSTOP);
  tree->WaitUntil("it is not ready", [&] { return NotReady(*tree); });
  tree->WaitUntil("it is ready again", [&] { return Ready(*tree); });
  EXPECT_NE(tree->Process("execution0")["incarnation"], before["incarnation"]);
  EXPECT_EQ(tree->Stop(), 0);
}

// Only the lane hangs; the process answers the supervisor, and its links stand.
TEST(Ready, ADeadlockedLaneTurnsItFalse) {
  Faults faults;
  Tree::Options options = WithPlugin(kFake);
  options.config += "supervisor: {hang_ms: 3000}\ningress: {probe_period_ms: 200}\n";
  auto tree = Tree::Start(options);
  tree->WaitUntil("it is ready", [&] { return Ready(*tree); });
  const nlohmann::json before = tree->Process("execution0");
  faults.Set("run 100");
  tree->WaitUntil("it is not ready", [&] { return NotReady(*tree); });
  faults.Set("");
  tree->WaitUntil("it is ready again", [&] { return Ready(*tree); });
  EXPECT_NE(tree->Process("execution0")["incarnation"], before["incarnation"]);
  EXPECT_EQ(tree->Status()["hangs"], 1);
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Ready, ALostDeviceTurnsItFalseUntilItIsDoneWithout) {
  Faults faults;
  Tree::Options options = WithPlugin(kFake);
  options.config += "ingress: {probe_period_ms: 100}\n";
  auto tree = Tree::Start(options);
  tree->WaitUntil("it is ready", [&] { return Ready(*tree); });
  EXPECT_EQ(DeviceOf(*tree)["state"], "ready");
  faults.Set("run 7");  // nobody but the golden requests asks for a run
  tree->WaitUntil("it is not ready", [&] { return NotReady(*tree); });
  // In between, a successor that has failed nothing yet may be within the period of the last proof.
  tree->WaitUntil("it is ready again, without the device",
                  [&] { return DeviceOf(*tree)["state"] == "failed" && Ready(*tree); });
  EXPECT_GE(tree->Status()["deaths"], 3);
  EXPECT_EQ(tree->Stop(), 0);
}

// Wrong numbers, by a device that says that all is well.
TEST(Ready, ACorruptedResultTurnsItFalse) {
  Faults faults;
  Tree::Options options = WithPlugin(kFake);
  options.config += kPatient;
  auto tree = Tree::Start(options);
  tree->WaitUntil("it is ready", [&] { return Ready(*tree); });
  faults.Set("run 101");
  tree->WaitUntil("it is not ready", [&] { return NotReady(*tree); });
  for (const char* model : {"breast_cancer", "digits", "randhie", "randhie_lgbm", "randhie_xgb"}) {
    tree->WaitUntil("each model shows it", [&] {
      return GoldenOf(*tree, model)["last_failure"] == "another answer than expected";
    });
  }
  EXPECT_EQ(tree->Status()["deaths"], 0);
  faults.Set("");
  tree->WaitUntil("it is ready again", [&] { return Ready(*tree); });
  EXPECT_EQ(tree->Stop(), 0);
}

// What the repository says must come back, and does not.
TEST(Ready, AGoldenFileThatDoesNotAgreeTurnsItsModelAndTheServerFalse) {
  const std::string dir = std::string(getenv("TEST_TMPDIR")) + "/models";
  fs::remove_all(dir);
  fs::copy("deploy/demo/models", dir, fs::copy_options::recursive);
  // The first rows of deploy/demo/golden/randhie_xgb.
  const auto write = [](const std::string& root, const std::string& prediction) {
    std::ofstream(root + "/randhie_xgb/1/golden.json") << R"({
      "inputs": [{"name": "coinsurance", "datatype": "FP64", "shape": [1], "data": [25]},
                 {"name": "plan", "datatype": "BYTES", "shape": [1], "data": ["family"]},
                 {"name": "incentive", "datatype": "FP64", "shape": [1], "data": [568.8]},
                 {"name": "expenditure_limit", "datatype": "FP64", "shape": [1], "data": [2275.2]},
                 {"name": "limitation", "datatype": "FP64", "shape": [1], "data": [0]},
                 {"name": "diseases", "datatype": "FP64", "shape": [1], "data": [3.4]},
                 {"name": "health", "datatype": "BYTES", "shape": [1], "data": ["good"]}],
      "outputs": [{"name": "prediction", "datatype": "FP32", "shape": [1, 1], "data": [)"
                                                       << prediction << R"(]}]})";
  };
  std::ifstream expect("deploy/demo/golden/randhie_xgb/raw_expect.csv");
  std::string header, first, second;
  std::getline(expect, header);
  std::getline(expect, first);
  std::getline(expect, second);
  const std::string right = second.substr(0, second.find(','));
  write(dir, "1234.5");
  Tree::Options options;
  options.repository = "";
  options.config = "repository: " + dir + "\n" + kPatient;
  auto tree = Tree::Start(options);
  tree->WaitUntil("it answers, and is not ready", [&] { return NotReady(*tree); });
  tree->WaitUntil("the others are",
                  [&] { return ModelReady(*tree, "digits") && ModelReady(*tree, "randhie"); });
  EXPECT_FALSE(ModelReady(*tree, "randhie_xgb"));
  EXPECT_EQ(GoldenOf(*tree, "randhie_xgb")["last_failure"], "another answer than expected");
  EXPECT_TRUE(GoldenOf(*tree, "randhie_xgb")["age_ms"].is_null());
  write(dir, right);
  tree->Admin({{"verb", "reload"}});
  tree->WaitUntil("it is ready", [&] { return Ready(*tree); });
  EXPECT_TRUE(ModelReady(*tree, "randhie_xgb"));
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
