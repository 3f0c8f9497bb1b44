// A budget of memory for models: what does not fit is refused and nothing changes, or what is idle
// makes room, while another model is asked all the time.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <thread>

#include "services/e2e/http_call.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kCopies = 8;  // of randhie_xgb's trees: a model of some 0.9 MB in a worker

// Models big1 to big3: the demo's, with more trees, and leaves of their own.
class BigModels {
 public:
  BigModels() {
    const char* const temp = getenv("TEST_TMPDIR");
    root_ = std::string(temp == nullptr ? "/tmp" : temp) + "/big_models";
    fs::remove_all(root_);
    fs::create_directories(root_);
    fs::copy("deploy/demo/models/breast_cancer", root_ + "/breast_cancer",
             fs::copy_options::recursive);
    std::ifstream file("deploy/demo/models/randhie_xgb/1/model.json");
    small_ = json::parse(file);
  }
  ~BigModels() { fs::remove_all(root_); }
  const std::string& root() const { return root_; }

  void Add(int number) const {
    json model = small_;
    json& boosted = model["learner"]["gradient_booster"]["model"];
    const json trees = boosted["trees"];
    boosted["trees"] = json::array();
    boosted["tree_info"] = json::array();
    boosted["iteration_indptr"] = {0};
    for (int copy = 0; copy < kCopies; ++copy) {
      for (json tree : trees) {
        const size_t id = boosted["trees"].size();
        tree["id"] = id;
        for (size_t node = 0; node < tree["left_children"].size(); ++node) {
          if (tree["left_children"][node] == -1) tree["split_conditions"][node] = number;
        }
        boosted["trees"].push_back(tree);
        boosted["tree_info"].push_back(0);
        boosted["iteration_indptr"].push_back(id + 1);
      }
    }
    boosted["gbtree_model_param"]["num_trees"] = std::to_string(boosted["trees"].size());
    const std::string folder = root_ + "/big" + std::to_string(number);
    fs::create_directories(folder + "/1");
    std::ofstream(folder + "/config.pbtxt") << "backend: \"xgboost\"\nmax_batch_size: 64\n";
    std::ofstream(folder + "/1/model.json") << model.dump();
  }

 private:
  std::string root_;
  json small_;
};

json Load(Tree& tree, const std::string& model) {
  return tree.Admin({{"verb", "load"}, {"model", model}});
}

// What HTTP says of the model: "READY", "UNAVAILABLE evicted", or nothing.
std::string StateOf(Tree& tree, const std::string& model) {
  const json index = HttpCall(tree.Address("http"), "/v2/repository/index", "{}").Finish().Json();
  for (const json& one : index) {
    if (one["name"] != model) continue;
    const std::string reason = one.value("reason", "");
    return one["state"].get<std::string>() + (reason.empty() ? "" : " " + reason);
  }
  return "";
}

HttpAnswer AskAt(const std::string& address, const std::string& model) {
  json data = json::array();
  for (int i = 0; i < 15; ++i) data.push_back(i);
  const json body = {
      {"inputs", {{{"name", "input"}, {"shape", {1, 15}}, {"datatype", "FP32"}, {"data", data}}}}};
  return HttpCall(address, "/v2/models/" + model + "/infer", body.dump()).Finish();
}

HttpAnswer Ask(Tree& tree, const std::string& model) { return AskAt(tree.Address("http"), model); }

// Plans that the process has mapped, by inode.
std::set<std::string> MappedPlans(Tree& tree, const std::string& process) {
  std::set<std::string> inodes;
  const int pid = tree.Process(process)["pid"];
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("/memfd:plan") == std::string::npos) continue;
    std::istringstream words(line);
    std::string range, permissions, offset, device, inode;
    words >> range >> permissions >> offset >> device >> inode;
    inodes.insert(inode);
  }
  return inodes;
}

double Metric(Tree& tree, const std::string& name) {
  const json status = tree.Status();
  for (const json& listener : status["listeners"]) {
    if (listener["name"] != "metrics") continue;
    const std::string text = HttpCall(listener["address"], "/metrics", "").Finish().body;
    const size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1 : atof(text.c_str() + at + name.size() + 2);
  }
  return -1;
}

uint64_t CostOf(Tree& tree, const std::string& model) {
  const json status = tree.Status();
  for (const json& one : status["catalog"]["models"]) {
    if (one["name"] != model) continue;
    return one["plan_bytes"].get<uint64_t>() + one["worker_bytes"].get<uint64_t>();
  }
  return 0;
}

void ExpectNobodyNoticed(GoldenLoad& load) {
  const json report = load.End();
  EXPECT_GT(report["sent"], 100);
  EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
  EXPECT_EQ(report["mismatched"], 0) << report.dump();
}

TEST(Memory, WhatDoesNotFitIsRefusedAndWhatIsServedGoesOn) {
  const BigModels models;
  models.Add(1);
  models.Add(2);
  Tree::Options options;
  options.repository = "";
  options.config =
      "repository: " + models.root() + "\nexecution: {memory_budget_mb: 2, device: cpu}\n";
  auto tree = Tree::Start(options);
  const uint64_t cost = CostOf(*tree, "big1");
  ASSERT_GT(cost, uint64_t{2} << 18) << "two fit into 2 MB, and three do not";
  ASSERT_LT(cost, uint64_t{15} << 16);
  const json memory = tree->Status()["catalog"]["memory"];
  EXPECT_EQ(memory["budget_bytes"], 2 << 20);
  EXPECT_EQ(memory["bytes"], 2 * cost + CostOf(*tree, "breast_cancer"));
  tree->WaitUntil("metrics tell it", [&] {
    return Metric(*tree, "millrace_models_memory_bytes") == memory["bytes"].get<double>();
  });
  EXPECT_EQ(Metric(*tree, "millrace_models_memory_budget_bytes"), 2 << 20);
  GoldenLoad load(*tree, "breast_cancer", false, {"--in_flight=4", "--duration_ms=0"});
  const std::set<std::string> plans = MappedPlans(*tree, "execution0");
  EXPECT_EQ(plans.size(), 3u);
  models.Add(3);
  for (int i = 0; i < 3; ++i) {
    const json refused = Load(*tree, "big3");
    EXPECT_EQ(refused["ok"], false);
    const std::string why = refused["error"];
    for (const char* part :
         {"model \"big3\" version 1 needs", "of execution.memory_budget_mb, 2.00 MB",
          "\"big1\" version 1 (", "\"big2\" version 1 ("}) {
      EXPECT_NE(why.find(part), std::string::npos) << part << " in " << why;
    }
  }
  const HttpAnswer http =
      HttpCall(tree->Address("http"), "/v2/repository/models/big3/load", "{}").Finish();
  EXPECT_EQ(http.code, 429) << http.body;
  EXPECT_EQ(MappedPlans(*tree, "execution0"), plans) << "no worker has heard of it";
  EXPECT_EQ(StateOf(*tree, "big1"), "READY");
  EXPECT_EQ(Ask(*tree, "big2").code, 200);
  // Room that is made is there: a worker lets go of what no request goes by.
  EXPECT_EQ(tree->Admin({{"verb", "unload"}, {"model", "big1"}})["ok"], true);
  EXPECT_EQ(Load(*tree, "big3")["ok"], true);
  EXPECT_EQ(Ask(*tree, "big3").code, 200);
  tree->WaitUntil("the old plan is unmapped",
                  [&] { return MappedPlans(*tree, "execution0").size() == 3; });
  EXPECT_EQ(Load(*tree, "big1")["ok"], false);
  ExpectNobodyNoticed(load);
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Memory, WhatIsIdleMakesRoomAndComesBackWhenItIsLoaded) {
  const BigModels models;
  models.Add(1);
  models.Add(2);
  Tree::Options options;
  options.repository = "";
  options.config =
      "repository: " + models.root() +
      "\nexecution: {memory_budget_mb: 2, over_budget: evict_idle, evict_after_ms: 3000, device: "
      "cpu}\n";
  auto tree = Tree::Start(options);
  GoldenLoad load(*tree, "breast_cancer", false, {"--in_flight=2", "--duration_ms=0"});
  models.Add(3);
  // big1 is asked all the time; what nobody asks for is idle by and by.
  std::atomic<bool> end{false};
  std::atomic<int> not_answered{0};
  std::thread client([&, address = tree->Address("http")] {
    while (!end) not_answered += AskAt(address, "big1").code != 200;
  });
  tree->WaitUntil("big2 was idle for long enough",
                  [&] { return Load(*tree, "big3")["ok"] == true; });
  EXPECT_EQ(StateOf(*tree, "big1"), "READY");
  EXPECT_EQ(StateOf(*tree, "big2"), "UNAVAILABLE evicted");
  EXPECT_EQ(StateOf(*tree, "big3"), "READY");
  EXPECT_EQ(Ask(*tree, "big3").code, 200);
  EXPECT_EQ(Ask(*tree, "big2").code, 404);
  EXPECT_LE(MappedPlans(*tree, "execution0").size(), 3u);
  tree->WaitUntil("metrics tell it", [&] { return Metric(*tree, "millrace_models_evicted") == 1; });
  // It stays out, whoever reads the repository again.
  tree->Hurt("registry0", SIGKILL);
  EXPECT_EQ(StateOf(*tree, "big2"), "UNAVAILABLE evicted");
  tree->WaitUntil("something else was idle", [&] { return Load(*tree, "big2")["ok"] == true; });
  EXPECT_EQ(StateOf(*tree, "big1"), "READY");
  EXPECT_EQ(StateOf(*tree, "big2"), "READY");
  EXPECT_EQ(StateOf(*tree, "big3"), "UNAVAILABLE evicted");
  end = true;
  client.join();
  EXPECT_EQ(not_answered, 0);
  ExpectNobodyNoticed(load);
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
