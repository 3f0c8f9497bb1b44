// A profile of each stage while it works names that stage's own functions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <sstream>

#include "services/e2e/tree.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

std::string FileText(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(Profile, EachStageUnderLoadNamesItsOwnFunctions) {
  auto tree = Tree::Start({});
  GoldenLoad load(*tree, "randhie", true, {"--in_flight=16", "--duration_ms=0"});
  // Through all stages: features, two members, aggregation.
  const std::map<std::string, std::string> own = {{"ingress", "millrace::IngressLane::"},
                                                  {"features", "millrace::FeaturesStage::"},
                                                  {"execution", "millrace::ExecutionStage::"},
                                                  {"aggregation0", "millrace::AggregationStage::"}};
  const char* scratch = getenv("TEST_TMPDIR");
  const std::string dir = scratch == nullptr ? "/tmp" : scratch;
  std::map<std::string, std::unique_ptr<Child>> profiles;
  for (const auto& [process, function] : own) {
    profiles[process] = std::make_unique<Child>(
        std::vector<std::string>{"tools/millrace/millrace", "profile", process, "--seconds=2",
                                 "--admin-socket=" + tree->admin_socket(),
                                 "--output=" + dir + "/" + process + ".pb.gz",
                                 "--folded=" + dir + "/" + process + ".folded"},
        true);
  }
  for (const auto& [process, function] : own) {
    EXPECT_EQ(profiles[process]->Wait(), 0) << process;
    EXPECT_THAT(profiles[process]->Output(), HasSubstr("s of CPU time in"));
    EXPECT_THAT(FileText(dir + "/" + process + ".folded"), HasSubstr(function)) << process;
    EXPECT_EQ(FileText(dir + "/" + process + ".pb.gz").substr(0, 2), "\x1f\x8b") << process;
  }
  EXPECT_EQ(load.End()["failed"], 0) << "it served meanwhile";
  const auto refused = [&](const std::string& process) {
    Child child({"tools/millrace/millrace", "profile", process, "--seconds=1",
                 "--admin-socket=" + tree->admin_socket()},
                true);
    return child.Wait();
  };
  EXPECT_EQ(refused("execution7"), 1) << "there is none";
  EXPECT_EQ(refused("registry"), 1) << "it has no lanes";
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
