// The whole tree from its start to its end, with what can be wrong at either.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "services/e2e/tree.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

// A copy of the demo's models that the test may damage.
std::string Repository() {
  const std::string dir = std::string(getenv("TEST_TMPDIR")) + "/models";
  fs::remove_all(dir);
  fs::copy("deploy/demo/models", dir, fs::copy_options::recursive);
  return dir;
}

void ExpectGolden(Tree& tree, const std::string& model, bool raw) {
  const nlohmann::json report =
      GoldenLoad(tree, model, raw, {"--requests=200", "--duration_ms=0", "--in_flight=8"}).Report();
  EXPECT_EQ(report["answered"], 200) << model << report.dump();
}

TEST(Life, EveryDemoModelAnswersBitEqual) {
  auto tree = Tree::Start({});
  for (const char* model : {"breast_cancer", "digits", "randhie_xgb", "randhie_lgbm", "randhie"}) {
    ExpectGolden(*tree, model, false);
  }
  for (const char* model : {"randhie_xgb", "randhie_lgbm", "randhie"}) {
    ExpectGolden(*tree, model, true);
  }
  // All rows of a file in one request, and in odd pieces: a row does not depend on its batch.
  for (const char* rows : {"200", "7", "64"}) {
    const nlohmann::json report =
        GoldenLoad(*tree, "digits", false,
                   {"--requests=20", "--duration_ms=0", std::string("--rows_per_request=") + rows})
            .Report();
    EXPECT_EQ(report["answered"], 20) << rows << report.dump();
  }
  EXPECT_EQ(tree->Stop(), 0);
}

// However lanes wait, every answer comes, and nobody sleeps through one.
TEST(Life, EachWayToWaitServes) {
  for (const std::string mode : {"spin", "yield", "park"}) {
    Tree::Options options;
    options.config = "supervisor: {wait: " + mode + "}\n";
    auto tree = Tree::Start(options);
    ExpectGolden(*tree, "randhie", true);
    const auto status = tree->Status();
    for (const auto& process : status["processes"]) {
      if (process["stage"] == "registry" || process["stage"] == "observer") continue;
      EXPECT_EQ(process["wait"], mode) << process.dump();
      EXPECT_GT(process["counters"]["parks"], 0) << process.dump();
    }
    EXPECT_EQ(tree->Stop(), 0);
  }
}

TEST(Life, DamagedModelsAreNamedAndTheOthersServe) {
  const std::string dir = Repository();
  const std::string digits = dir + "/digits/1/model.txt";
  fs::resize_file(digits, fs::file_size(digits) / 2);
  fs::resize_file(dir + "/breast_cancer/1/model.ubj", 0);
  std::ofstream(dir + "/randhie_lgbm/config.pbtxt", std::ios::app)
      << "sequence_batching { max_sequence_idle_microseconds: 100 }\n";
  Tree::Options options;
  options.repository = dir;
  auto tree = Tree::Start(options);
  const nlohmann::json failed = tree->Status()["catalog"]["failed"];
  std::map<std::string, std::string> reasons;
  for (const auto& f : failed) reasons[f["name"]] = f["reason"];
  EXPECT_TRUE(reasons.count("digits")) << failed.dump();
  EXPECT_TRUE(reasons.count("breast_cancer")) << failed.dump();
  EXPECT_NE(reasons["randhie_lgbm"].find("sequence_batching"), std::string::npos) << failed.dump();
  EXPECT_TRUE(reasons.count("randhie")) << "an ensemble without one of its members";
  ExpectGolden(*tree, "randhie_xgb", true);
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Life, NoRepositoryEndsTheStartWithItsExitCode) {
  Tree::Options options;
  options.config = "repository: /does/not/exist\n";
  options.repository.clear();
  Tree tree(options);
  EXPECT_EQ(tree.keeper().Wait(), 67);
}

TEST(Life, ABadConfigurationEndsTheStartWithItsExitCode) {
  Tree::Options options;
  options.config = "execution: {workers: 99}\nno_such_field: 1\n";
  Tree tree(options);
  EXPECT_EQ(tree.keeper().Wait(), 65);
}

TEST(Life, StoppingUnderLoadEndsEverythingInOrder) {
  auto tree = Tree::Start({});
  GoldenLoad load(*tree, "randhie", true, {"--in_flight=8", "--duration_ms=3000"});
  tree->WaitUntil("the load runs",
                  [&] { return tree->Process("ingress0")["counters"].value("answered", 0) > 100; });
  std::vector<int> pids;
  for (const std::string& name : tree->ProcessNames()) pids.push_back(tree->Process(name)["pid"]);
  EXPECT_EQ(tree->Stop(), 0);
  for (int pid : pids) EXPECT_NE(kill(pid, 0), 0) << "process " << pid << " is left";
  // What was answered was answered right; what was not was refused, never lost.
  const nlohmann::json report = load.Report();
  EXPECT_EQ(report["mismatched"], 0);
  EXPECT_EQ(report["answered"].get<int64_t>() + report["failed"].get<int64_t>(), report["sent"]);
}

// Each change is live when it is answered, and no request of either model is lost.
TEST(Life, ModelsAreLoadedAndUnloadedUnderTraffic) {
  auto tree = Tree::Start({});
  GoldenLoad same(*tree, "randhie_xgb", true, {"--in_flight=8", "--duration_ms=0"});
  GoldenLoad other(*tree, "randhie", true, {"--in_flight=8", "--duration_ms=0"});
  const auto served = [&](const std::string& name) {
    const nlohmann::json status = tree->Status();
    for (const auto& model : status["catalog"]["models"]) {
      if (model["name"] == name) return true;
    }
    return false;
  };
  for (int i = 0; i < 5; ++i) {
    nlohmann::json reply = tree->Admin({{"verb", "load"}, {"model", "randhie_xgb"}});
    EXPECT_EQ(reply["ok"], true) << reply.dump();
    reply = tree->Admin({{"verb", "unload"}, {"model", "digits"}});
    EXPECT_EQ(reply["ok"], true) << reply.dump();
    EXPECT_FALSE(served("digits"));
    reply = tree->Admin({{"verb", "load"}, {"model", "digits"}});
    EXPECT_EQ(reply["ok"], true) << reply.dump();
    EXPECT_TRUE(served("digits"));
  }
  EXPECT_EQ(tree->Admin({{"verb", "unload"}, {"model", "randhie_xgb"}})["ok"], false)
      << "the ensemble needs it";
  EXPECT_EQ(tree->Admin({{"verb", "load"}, {"model", "nobody"}})["ok"], false);
  for (GoldenLoad* load : {&same, &other}) {
    const nlohmann::json report = load->End();
    EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
    EXPECT_EQ(report["mismatched"], 0) << report.dump();
  }
  ExpectGolden(*tree, "digits", false);
  // What is unloaded stays out when the registry starts anew.
  EXPECT_EQ(tree->Admin({{"verb", "unload"}, {"model", "digits"}})["ok"], true);
  tree->Hurt("registry0", SIGKILL);
  EXPECT_FALSE(served("digits"));
  EXPECT_EQ(tree->Stop(), 0);
}

// `millrace model ...`; its exit code, and what it printed.
std::pair<int, std::string> ModelTool(std::vector<std::string> words) {
  words.insert(words.begin(), {"tools/millrace/millrace", "model"});
  words.push_back("--binaries=services");
  Child tool(words, true);
  const std::string output = tool.Output();
  return {tool.Wait(), output};
}

// Only what is signed and is what it says is served; the version before goes on without a failure.
TEST(Life, AVersionIsServedOnlyAsItsManifestSays) {
  const std::string dir = Repository(), key = dir + "/../release.key";
  for (const char* model : {"randhie", "randhie_xgb", "randhie_lgbm", "breast_cancer"}) {
    fs::remove_all(dir + "/" + model);
  }
  fs::remove(key);
  const auto [made, known] = ModelTool({"keygen", key});
  ASSERT_EQ(made, 0);
  const auto sign = [&](const std::string& version) {
    const std::string path = dir + "/digits/" + version;
    EXPECT_EQ(ModelTool({"init", path, "--force"}).first, 0);
    EXPECT_EQ(ModelTool({"sign", path, "--key=" + key}).first, 0);
  };
  sign("1");
  Tree::Options options;
  options.repository = "";  // in place, not a copy
  options.config = "repository: " + dir + "\nregistry: {trusted_keys: " + known.substr(0, 64) +
                   ", allow_unsigned: false}\n";
  auto tree = Tree::Start(options);
  const auto model = [&] { return tree->Status()["catalog"]["models"].at(0); };
  EXPECT_EQ(model()["manifest"]["signed_by"], known.substr(0, 64));
  GoldenLoad load(*tree, "digits", false, {"--in_flight=8", "--duration_ms=0"});

  fs::copy(dir + "/digits/1", dir + "/digits/2", fs::copy_options::recursive);
  const auto [checked, faults] = ModelTool({"check", dir + "/digits/2"});
  EXPECT_EQ(checked, 1);
  EXPECT_NE(faults.find("version: is 1, and the folder is 2"), std::string::npos) << faults;
  const nlohmann::json refused = tree->Admin({{"verb", "load"}, {"model", "digits"}});
  EXPECT_EQ(refused["ok"], false);
  EXPECT_NE(refused.dump().find("version: is 1, and the folder is 2"), std::string::npos)
      << refused.dump();
  tree->Admin({{"verb", "reload"}});
  tree->WaitUntil("the reason is told", [&] {
    const nlohmann::json failed = tree->Status()["catalog"]["failed"];
    return failed.dump().find("served instead: version 1") != std::string::npos;
  });
  EXPECT_EQ(model()["version"], "1");

  sign("2");
  EXPECT_EQ(tree->Admin({{"verb", "load"}, {"model", "digits"}})["ok"], true);
  EXPECT_EQ(model()["version"], "2");
  EXPECT_TRUE(tree->Status()["catalog"]["failed"].empty());
  const nlohmann::json report = load.End();
  EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
  EXPECT_EQ(report["mismatched"], 0) << report.dump();
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Life, AStageScalesUpWhileItServes) {
  auto tree = Tree::Start({});
  GoldenLoad load(*tree, "randhie", true, {"--in_flight=32", "--duration_ms=3000"});
  EXPECT_EQ(tree->Admin({{"verb", "scale"}, {"stage", "execution"}, {"count", 3}})["ok"], true);
  tree->WaitUntil("three execution workers answer", [&] {
    for (const char* name : {"execution0", "execution1", "execution2"}) {
      const nlohmann::json process = tree->Process(name);
      if (!process.is_object() || process["counters"].value("answered", 0) == 0) return false;
    }
    return true;
  });
  const nlohmann::json report = load.Report();
  EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
