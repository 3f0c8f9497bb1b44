// A profile of each stage while it works names that stage's own functions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <sstream>

#include "absl/strings/match.h"
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

// Takes a profile of each of the processes at once; erases those that name the function asked for.
void TakeProfiles(const Tree& tree, std::map<std::string, std::string>& unseen) {
  const char* scratch = getenv("TEST_TMPDIR");
  const std::string dir = scratch == nullptr ? "/tmp" : scratch;
  std::map<std::string, std::unique_ptr<Child>> profiles;
  for (const auto& [process, function] : unseen) {
    profiles[process] = std::make_unique<Child>(
        std::vector<std::string>{"tools/millrace/millrace", "profile", process, "--seconds=2",
                                 "--admin-socket=" + tree.admin_socket(),
                                 "--output=" + dir + "/" + process + ".pb.gz",
                                 "--folded=" + dir + "/" + process + ".folded"},
        true);
  }
  for (const auto& [process, child] : profiles) {
    EXPECT_EQ(child->Wait(), 0) << process;
    EXPECT_THAT(child->Output(), HasSubstr("s of CPU time in"));
    EXPECT_EQ(FileText(dir + "/" + process + ".pb.gz").substr(0, 2), "\x1f\x8b") << process;
    const std::string folded = FileText(dir + "/" + process + ".folded");
    if (absl::StrContains(folded, unseen[process])) unseen.erase(process);
  }
}

TEST(Profile, EachStageUnderLoadNamesItsOwnFunctions) {
  auto tree = Tree::Start({});
  GoldenLoad load(*tree, "randhie", true, {"--in_flight=16", "--duration_ms=0"});
  // Through all stages: features, two members, aggregation.
  std::map<std::string, std::string> unseen = {{"ingress", "millrace::IngressLane::"},
                                               {"features", "millrace::FeaturesStage::"},
                                               {"execution", "millrace::ExecutionStage::"},
                                               {"aggregation0", "millrace::AggregationStage::"}};
  // A profile is a sample of the CPU time, and on a busy machine a stage may get so little of it
  // that a handful of samples all fall elsewhere: what one does not show, the next ones must.
  for (int round = 0; round < 20 && !unseen.empty(); ++round) TakeProfiles(*tree, unseen);
  EXPECT_THAT(unseen, ::testing::IsEmpty());
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

// Of a stage that was started for it; the others serve as they were.
TEST(Profile, AHeapIsShownWhereTheConfigurationSaysSo) {
  Tree::Options options;
  options.config = "ingress: {heap_profile: true}\n";
  auto tree = Tree::Start(options);
  GoldenLoad load(*tree, "randhie", true, {"--requests=200", "--duration_ms=0"});
  EXPECT_EQ(load.Report()["failed"], 0);
  const char* scratch = getenv("TEST_TMPDIR");
  const std::string folded = std::string(scratch == nullptr ? "/tmp" : scratch) + "/heap.folded";
  const auto take = [&](const std::string& process) {
    auto child = std::make_unique<Child>(
        std::vector<std::string>{"tools/millrace/millrace", "profile", process, "--heap",
                                 "--admin-socket=" + tree->admin_socket(), "--folded=" + folded},
        true);
    const int code = child->Wait();
    return std::pair(code, child->Output());
  };
  const auto [code, said] = take("ingress");
  EXPECT_EQ(code, 0) << said;
  EXPECT_THAT(said, HasSubstr("MiB of the heap"));
  EXPECT_THAT(FileText(folded), HasSubstr("millrace::")) << "functions of ours hold some of it";
  EXPECT_NE(take("features").first, 0) << "it was not started for it";
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
