// A model that is reloaded again and again, each time another one, under load on another model:
// every process has the memory and the descriptors that it had.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "services/e2e/tree.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

constexpr int kWarmUp = 20;
constexpr double kMostGrowth = 0.01;

struct Use {
  int pid = 0;
  double resident_kb = 0;
  double heap_kb = 0;  // of it: the process's own. Arenas are reserved from the start, and entered
                       // by and by
  size_t descriptors = 0;
  size_t mappings = 0;  // of memfds: plans, catalogs, peers
};

double StatusKb(int pid, const std::string& field) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind(field, 0) == 0) return atof(line.c_str() + field.size());
  }
  return 0;
}

size_t Mappings(int pid) {
  std::ifstream maps("/proc/" + std::to_string(pid) + "/maps");
  size_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find("/memfd:") != std::string::npos) ++count;
  }
  return count;
}

class ReloadMemory : public ::testing::Test {
 protected:
  ReloadMemory() {
    const char* const temp = getenv("TEST_TMPDIR");
    root_ = std::string(temp == nullptr ? "/tmp" : temp) + "/reload_memory";
    fs::remove_all(root_);
    fs::create_directories(root_);
    for (const char* model : {"breast_cancer", "randhie_xgb"}) {
      fs::copy(std::string("deploy/demo/models/") + model, root_ + "/" + model,
               fs::copy_options::recursive);
    }
    std::ifstream file(root_ + "/randhie_xgb/1/model.json");
    const nlohmann::json model = nlohmann::json::parse(file);
    for (int i = 0; i < 2; ++i) {
      nlohmann::json other = model;
      nlohmann::json& tree = other["learner"]["gradient_booster"]["model"]["trees"][0];
      for (size_t node = 0; node < tree["left_children"].size(); ++node) {
        if (tree["left_children"][node] == -1) tree["split_conditions"][node] = i;
      }
      contents_[i] = other.dump();
    }
  }
  ~ReloadMemory() override { fs::remove_all(root_); }

  void Reload(Tree& tree, int number) {
    const std::string path = root_ + "/randhie_xgb/1/model.json";
    fs::remove(path);
    std::ofstream(path) << contents_[number % 2];
    const nlohmann::json done = tree.Admin({{"verb", "load"}, {"model", "randhie_xgb"}});
    ASSERT_EQ(done["ok"], true) << done.dump();
  }
  std::map<std::string, Use> Look(Tree& tree) {
    std::map<std::string, int> pids = {{"keeper", tree.keeper().pid()},
                                       {"supervisor", tree.SupervisorPid()}};
    for (const std::string& name : tree.ProcessNames()) pids[name] = tree.Process(name)["pid"];
    std::map<std::string, Use> uses;
    for (const auto& [name, pid] : pids) {
      uses[name] = {pid, StatusKb(pid, "VmRSS:"), StatusKb(pid, "RssAnon:"), OpenDescriptors(pid),
                    Mappings(pid)};
    }
    return uses;
  }

  std::string root_;
  std::string contents_[2];
};

TEST_F(ReloadMemory, IsWhereItWas) {
  const char* const asked = getenv("RELOADS");
  const int reloads = asked == nullptr ? 60 : atoi(asked);
  Tree::Options options;
  options.repository = root_;
  // The observer's memory is that of its history, which grows until it is full.
  options.config = "execution: {device: cpu}\nregistry: {load_interval_ms: 0}\n";
  options.metrics = "none";
  auto tree = Tree::Start(options);
  GoldenLoad load(*tree, "breast_cancer", false, {"--in_flight=4", "--duration_ms=0"});
  for (int i = 0; i < kWarmUp; ++i) Reload(*tree, i);
  const std::map<std::string, Use> before = Look(*tree);
  for (int i = 0; i < reloads; ++i) Reload(*tree, i);
  const std::map<std::string, Use> after = Look(*tree);
  for (const auto& [name, use] : after) {
    const Use& was = before.at(name);
    EXPECT_EQ(use.pid, was.pid) << name;
    // One more for a moment: a command's connection that is being closed.
    tree->WaitUntil("descriptors and mappings are back", [&, pid = use.pid] {
      return OpenDescriptors(pid) <= was.descriptors && Mappings(pid) <= was.mappings;
    });
    EXPECT_GT(was.heap_kb, 0) << name;
    EXPECT_LE(use.heap_kb - was.heap_kb, was.resident_kb * kMostGrowth)
        << name << " had " << was.heap_kb << " of " << was.resident_kb;
  }
  const nlohmann::json report = load.End();
  EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
  EXPECT_EQ(report["mismatched"], 0) << report.dump();
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
