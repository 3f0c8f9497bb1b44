// The budget of models' memory: what is refused, with which sentence, and what goes to make room.
#include "services/registry/plan_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "services/registry/testing/temp_repository.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr uint64_t kMegabyte = 1 << 20;
constexpr uint64_t kPlanBytes = 5;  // the fake compiler's
constexpr char kPlain[] = "platform: \"xgboost\" max_batch_size: 8\n";
constexpr char kAll[] = "platform: \"xgboost\" max_batch_size: 8\nversion_policy { all { } }\n";

std::string Costs(uint64_t bytes) {
  FakeReport report;
  report.private_bytes = bytes - kPlanBytes;
  return report.Line();
}

class PlanBudgetTest : public ::testing::Test {
 protected:
  void Limit(uint64_t megabytes, bool evict_idle = false) {
    CatalogBuilder::Memory memory;
    memory.rules = {megabytes * kMegabyte, evict_idle, /*evict_after_ms=*/1000};
    memory.use = [this](uint64_t generation) {
      asked_.push_back(generation);
      // What is published is settled at once, unless a test holds it up.
      use_.settled_generation = held_up_ ? 0 : generation;
      return use_;
    };
    memory.publish = [this](const BuiltCatalog& built) {
      published_.push_back(Names(built.catalog));
      return absl::OkStatus();
    };
    builder_.SetMemory(std::move(memory));
  }
  void Add(const std::string& name, int version, uint64_t megabytes, const char* config = kPlain) {
    temp_.Write(name + "/config.pbtxt", config);
    temp_.Write(name + "/" + std::to_string(version) + "/model.json",
                Costs(megabytes * kMegabyte) + "\n");
  }
  absl::Status Build() { return Take(builder_.Build(temp_.root())); }
  absl::Status Load(const std::string& name) { return Take(builder_.Load(temp_.root(), name)); }
  absl::Status Unload(const std::string& name) {
    return Take(builder_.Unload(temp_.root(), name, false));
  }
  absl::Status Take(const absl::StatusOr<const BuiltCatalog*>& built) {
    if (built.ok()) catalog_ = (*built)->catalog;
    return built.status();
  }
  static std::vector<std::string> Names(const Catalog& catalog) {
    std::vector<std::string> names;
    for (const Model& m : catalog.models()) names.push_back(m.name() + "/" + m.version());
    return names;
  }
  std::vector<std::string> Served() const { return Names(catalog_); }
  std::vector<std::string> Evicted() const {
    std::vector<std::string> names;
    for (const EvictedVersion& v : catalog_.evicted()) {
      names.push_back(v.name() + "/" + v.version());
    }
    return names;
  }
  std::string WhyFailed(const std::string& name) const {
    for (const FailedModel& failed : catalog_.failed()) {
      if (failed.name() == name) return failed.reason();
    }
    return "";
  }
  // How often the compiler was started.
  size_t Compiled() const {
    std::ifstream lines(temp_.root() + "/.compiled");
    return std::count(std::istreambuf_iterator<char>(lines), {}, '\n');
  }
  // The fake compiler, counted.
  LoaderOptions Options() const {
    LoaderOptions options = FakeOptions();
    const std::string script = temp_.root() + "/.compiler";
    temp_.Write(".compiler", "#!/bin/sh\necho 1 >> " + temp_.root() + "/.compiled\nexec " +
                                 std::filesystem::absolute(options.compile.compiler).string() +
                                 " \"$@\"\n");
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);
    options.compile.compiler = script;
    return options;
  }
  void Idle(const std::string& name, const std::string& version, int64_t ms) {
    use_.idle_ms[{name, version}] = ms;
  }

  TempRepository temp_;
  CatalogBuilder builder_{Options(), 1, 1};
  Catalog catalog_;
  PlanUse use_;
  bool held_up_ = false;
  std::vector<uint64_t> asked_;
  std::vector<std::vector<std::string>> published_;  // to make room
};

TEST_F(PlanBudgetTest, WithoutABudgetEverythingIsTaken) {
  Add("a", 1, 4000);
  Add("b", 1, 4000);
  ASSERT_TRUE(Build().ok());
  EXPECT_THAT(Served(), ElementsAre("a/1", "b/1"));
}

TEST_F(PlanBudgetTest, WhatFitsToTheLastByteIsTakenAndOneByteMoreIsNot) {
  Limit(4);
  Add("a", 1, 3);
  Add("b", 1, 1);
  ASSERT_TRUE(Build().ok());
  EXPECT_THAT(Served(), ElementsAre("a/1", "b/1"));
  temp_.Write("c/config.pbtxt", kPlain);
  temp_.Write("c/1/model.json", Costs(kPlanBytes) + "\n");
  EXPECT_TRUE(absl::IsResourceExhausted(Load("c")));
}

TEST_F(PlanBudgetTest, ALoadThatPassesItIsRefusedWithASentenceAndNothingChanges) {
  Limit(4);
  Add("a", 1, 2);
  Add("b", 7, 1);
  ASSERT_TRUE(Build().ok());
  Add("c", 3, 2);
  const absl::Status refused = Load("c");
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(
      refused.message(),
      "model \"c\" cannot be served, nothing was changed: model \"c\" version 3 needs 2.00 "
      "MB in each execution worker; of execution.memory_budget_mb, 4.00 MB, 3.00 MB are held: "
      "\"a\" version 1 (2.00 MB), \"b\" version 7 (1.00 MB)");
  EXPECT_THAT(Served(), ElementsAre("a/1", "b/7"));
  // Room is made by hand.
  ASSERT_TRUE(Unload("a").ok());
  EXPECT_TRUE(Load("c").ok());
  EXPECT_THAT(Served(), ElementsAre("b/7", "c/3"));
}

TEST_F(PlanBudgetTest, AtAStartWhatDoesNotFitIsNamedAmongTheFailed) {
  Limit(4);
  Add("a", 1, 3);
  Add("b", 1, 2);
  Add("c", 1, 1);
  ASSERT_TRUE(Build().ok());
  EXPECT_THAT(Served(), ElementsAre("a/1", "c/1"));
  EXPECT_THAT(WhyFailed("b"), HasSubstr("needs 2.00 MB in each execution worker"));
}

// A version that takes another's place is there beside it for a while.
TEST_F(PlanBudgetTest, TheOldVersionCountsWhileTheNewOneComes) {
  Limit(5);
  Add("a", 1, 3);
  ASSERT_TRUE(Build().ok());
  Add("a", 2, 3);
  ASSERT_TRUE(Build().ok());
  EXPECT_THAT(Served(), ElementsAre("a/1")) << "the old one goes on serving";
  EXPECT_THAT(WhyFailed("a"), HasSubstr("version 2 needs 3.00 MB"));
  EXPECT_THAT(WhyFailed("a"), HasSubstr("served instead: version 1"));
  Add("a", 3, 2);
  ASSERT_TRUE(Build().ok());
  EXPECT_THAT(Served(), ElementsAre("a/3"));
}

TEST_F(PlanBudgetTest, WhatIsUnchangedCostsNothingMore) {
  Limit(4);
  Add("a", 1, 4);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Build().ok());
    EXPECT_THAT(Served(), ElementsAre("a/1"));
    EXPECT_EQ(WhyFailed("a"), "");
  }
}

// A worker holds an older catalog's plans until no request goes by it.
TEST_F(PlanBudgetTest, WhatIsUnloadedIsHeldUntilItIsSettled) {
  Limit(4);
  Add("a", 1, 3);
  ASSERT_TRUE(Build().ok());
  ASSERT_TRUE(Unload("a").ok());
  Add("b", 1, 3);
  held_up_ = true;
  const absl::Status refused = Load("b");
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("\"a\" version 1 (3.00 MB)"));
  held_up_ = false;
  EXPECT_TRUE(Load("b").ok());
  EXPECT_THAT(asked_, ElementsAre(2, 2)) << "the generation without it, each time";
}

TEST_F(PlanBudgetTest, WhatWasRefusedIsNotCompiledAgain) {
  Limit(4);
  Add("a", 1, 3);
  ASSERT_TRUE(Build().ok());
  Add("b", 1, 2);
  EXPECT_TRUE(absl::IsResourceExhausted(Load("b")));
  const size_t compiled = Compiled();
  EXPECT_GT(compiled, 0u);
  EXPECT_TRUE(absl::IsResourceExhausted(Load("b")));
  EXPECT_EQ(Compiled(), compiled);
  // Another file is looked at anew.
  Add("b", 1, 1);
  EXPECT_TRUE(Load("b").ok());
  EXPECT_EQ(Compiled(), compiled + 1);
}

TEST_F(PlanBudgetTest, EvictsWhatIsIdleLongestAndOnlyAsMuchAsIsNeeded) {
  Limit(6, /*evict_idle=*/true);
  for (const char* name : {"a", "b", "c"}) Add(name, 1, 2);
  ASSERT_TRUE(Build().ok());
  Idle("a", "1", 5000);
  Idle("b", "1", 9000);
  Idle("c", "1", 7000);
  Add("d", 1, 2);
  ASSERT_TRUE(Load("d").ok());
  EXPECT_THAT(Served(), ElementsAre("a/1", "c/1", "d/1"));
  EXPECT_THAT(Evicted(), ElementsAre("b/1"));
  // Workers let go of it before they are sent what comes.
  EXPECT_THAT(published_, ElementsAre(ElementsAre("a/1", "c/1")));
  // It stays out of every build, until it is loaded.
  ASSERT_TRUE(Build().ok());
  EXPECT_THAT(Served(), ElementsAre("a/1", "c/1", "d/1"));
  EXPECT_THAT(Evicted(), ElementsAre("b/1"));
  ASSERT_TRUE(Load("b").ok());
  EXPECT_THAT(Served(), ElementsAre("a/1", "b/1", "d/1"));
  EXPECT_THAT(Evicted(), ElementsAre("c/1"));
}

TEST_F(PlanBudgetTest, EvictsNothingThatIsUsedNeededOrUnknown) {
  Limit(6, /*evict_idle=*/true);
  for (const char* name : {"needed", "unknown", "used"}) Add(name, 1, 2);
  ASSERT_TRUE(Build().ok());
  Idle("used", "1", 999);
  Idle("needed", "1", 100'000);
  use_.needed.insert({"needed", "1"});
  Add("d", 1, 2);
  const absl::Status refused = Load("d");
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()),
              HasSubstr("what was idle for 1000 ms and may go is too little"));
  EXPECT_THAT(Served(), ElementsAre("needed/1", "unknown/1", "used/1"));
  EXPECT_THAT(Evicted(), IsEmpty());
}

TEST_F(PlanBudgetTest, EvictsNothingWhereItWouldNotBeEnough) {
  Limit(4, /*evict_idle=*/true);
  Add("a", 1, 2);
  Add("b", 1, 2);
  ASSERT_TRUE(Build().ok());
  Idle("a", "1", 5000);
  Add("d", 1, 3);
  EXPECT_TRUE(absl::IsResourceExhausted(Load("d")));
  EXPECT_THAT(Served(), ElementsAre("a/1", "b/1"));
  EXPECT_THAT(Evicted(), IsEmpty());
  EXPECT_THAT(published_, IsEmpty());
}

TEST_F(PlanBudgetTest, AnIdleVersionGoesAndItsModelStays) {
  Limit(4, /*evict_idle=*/true);
  Add("a", 1, 2, kAll);
  Add("a", 2, 2, kAll);
  ASSERT_TRUE(Build().ok());
  Idle("a", "1", 5000);
  Add("b", 1, 2);
  ASSERT_TRUE(Load("b").ok());
  EXPECT_THAT(Served(), ElementsAre("a/2", "b/1"));
  EXPECT_THAT(Evicted(), ElementsAre("a/1"));
  ASSERT_TRUE(Unload("a").ok());
  EXPECT_THAT(Evicted(), IsEmpty()) << "it is unloaded now";
}

// The version that was served before is not taken for one that may go while its model is read.
TEST_F(PlanBudgetTest, ANewVersionEvictsOthersAndNotItsOwnModel) {
  Limit(6, /*evict_idle=*/true);
  Add("a", 1, 3);
  Add("b", 1, 3);
  ASSERT_TRUE(Build().ok());
  Idle("a", "1", 9000);
  Idle("b", "1", 5000);
  Add("a", 2, 3);
  ASSERT_TRUE(Load("a").ok());
  EXPECT_THAT(Served(), ElementsAre("a/2"));
  EXPECT_THAT(Evicted(), ElementsAre("b/1"));
}

TEST_F(PlanBudgetTest, WhatIsEvictedAndStillInUseHoldsTheLoadUp) {
  Limit(4, /*evict_idle=*/true);
  Add("a", 1, 3);
  ASSERT_TRUE(Build().ok());
  Idle("a", "1", 5000);
  held_up_ = true;
  Add("b", 1, 3);
  const absl::Status refused = Load("b");
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("still in use"));
  held_up_ = false;
  EXPECT_TRUE(Load("b").ok());
  EXPECT_THAT(Served(), ElementsAre("b/1"));
}

}  // namespace
}  // namespace millrace
