#include "services/registry/registry_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <filesystem>
#include <thread>

#include "common/clock.h"
#include "ipc/memfd.h"
#include "services/registry/child_process.h"
#include "services/registry/testing/temp_repository.h"
#include "services/runtime/process.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;

constexpr char kPlain[] = "platform: \"xgboost\" max_batch_size: 8\n";

// The supervisor's end of a registry that runs on a thread of this test.
class RegistryServiceTest : public ::testing::Test {
 protected:
  RegistryServiceTest() {
    auto pair = ControlChannel::MakePair();
    supervisor_ = ControlChannel(std::move(pair->first));
    registry_ = std::thread([this, end = std::move(pair->second)]() mutable {
      exit_code_ = RegistryService(std::move(end), kFakeCompiler).Run();
    });
  }
  ~RegistryServiceTest() override {
    supervisor_ = ControlChannel();
    if (registry_.joinable()) registry_.join();
  }

  void Configure(const std::string& yaml) {
    ToProcess message;
    message.mutable_configure()->set_config_yaml(yaml);
    message.mutable_configure()->set_first_route(7);
    message.mutable_configure()->set_first_generation(3);
    ASSERT_TRUE(supervisor_.Send(message).ok());
  }
  void ConfigureRepository() { Configure("repository: " + temp_.root() + "\n"); }
  void Say(const std::function<void(ToProcess*)>& fill) {
    ToProcess message;
    fill(&message);
    ASSERT_TRUE(supervisor_.Send(message).ok());
  }
  // Routes come before the first catalog, and are another test's.
  FromProcess Hear() {
    FromProcess message = HearAny();
    while (message.has_publish_routes()) message = HearAny();
    return message;
  }
  FromProcess HearAny() {
    pollfd socket = {supervisor_.fd(), POLLIN, 0};
    poll(&socket, 1, 20'000);
    FromProcess message;
    const absl::StatusOr<bool> received = supervisor_.Receive(&message, &fds_);
    EXPECT_TRUE(received.ok() && *received) << received.status();
    return message;
  }
  Catalog HearCatalog() {
    const FromProcess message = Hear();
    EXPECT_TRUE(message.has_publish_catalog());
    routes_.assign(message.publish_catalog().plan_routes().begin(),
                   message.publish_catalog().plan_routes().end());
    EXPECT_EQ(fds_.size(), routes_.size() + 1);
    Catalog catalog;
    const auto map = MapImmutable(fds_[0].get(), 1 << 20);
    EXPECT_TRUE(map.ok()) << map.status();
    EXPECT_TRUE(catalog.ParseFromArray(map->get_address(), static_cast<int>(map->get_size())));
    EXPECT_EQ(catalog.generation(), message.publish_catalog().generation());
    return catalog;
  }
  int ExitCode() {
    registry_.join();
    return exit_code_;
  }

  TempRepository temp_;
  ControlChannel supervisor_;
  std::thread registry_;
  std::vector<Fd> fds_;
  std::vector<uint32_t> routes_;
  int exit_code_ = -1;
};

TEST_F(RegistryServiceTest, PublishesACatalogWithSealedPlansAndStops) {
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  temp_.AddModel("b", kPlain, "crash");
  ConfigureRepository();
  const Catalog catalog = HearCatalog();
  EXPECT_EQ(catalog.generation(), 3u);
  ASSERT_EQ(catalog.models_size(), 1);
  EXPECT_EQ(catalog.failed_size(), 1);
  EXPECT_THAT(routes_, ElementsAre(7));
  EXPECT_EQ(catalog.models(0).route(), 7u);
  EXPECT_TRUE(MapImmutable(fds_[1].get(), 1 << 20).ok());
  Say([](ToProcess* m) { m->mutable_drain(); });
  EXPECT_TRUE(Hear().has_drained());
  Say([](ToProcess* m) { m->mutable_stop(); });
  EXPECT_EQ(ExitCode(), kExitOk);
}

TEST_F(RegistryServiceTest, ReloadPublishesTheNextGeneration) {
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  ConfigureRepository();
  HearCatalog();
  temp_.AddModel("b", kPlain, FakeReport{}.Line());
  Say([](ToProcess* m) { m->mutable_reload(); });
  const Catalog catalog = HearCatalog();
  EXPECT_EQ(catalog.generation(), 4u);
  EXPECT_THAT(routes_, ElementsAre(7, 8));
}

TEST_F(RegistryServiceTest, ChangesAModelAndSaysSoAfterTheCatalog) {
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  temp_.AddModel("b", kPlain, FakeReport{}.Line());
  ConfigureRepository();
  HearCatalog();
  const auto change = [&](uint64_t request, bool load, const std::string& model) {
    Say([&](ToProcess* m) {
      m->mutable_change_model()->set_request(request);
      m->mutable_change_model()->set_load(load);
      m->mutable_change_model()->set_model(model);
    });
  };
  change(77, false, "a");
  EXPECT_EQ(HearCatalog().models_size(), 1);
  ModelChanged done = Hear().model_changed();
  EXPECT_EQ(done.request(), 77u);
  EXPECT_EQ(done.code(), 0);
  EXPECT_EQ(done.generation(), 4u);
  change(78, true, "a");
  EXPECT_EQ(HearCatalog().models_size(), 2);
  EXPECT_EQ(Hear().model_changed().generation(), 5u);
  change(79, true, "none");
  done = Hear().model_changed();
  EXPECT_EQ(done.request(), 79u);
  EXPECT_EQ(done.code(), static_cast<int>(absl::StatusCode::kNotFound));
  EXPECT_EQ(done.generation(), 0u);
  EXPECT_EQ(done.message().find(temp_.root()), std::string::npos);
}

TEST_F(RegistryServiceTest, ARepositoryThatGoesAwayLaterIsSurvived) {
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  ConfigureRepository();
  HearCatalog();
  temp_.Remove("");
  Say([](ToProcess* m) { m->mutable_reload(); });
  Say([](ToProcess* m) { m->mutable_drain(); });
  EXPECT_TRUE(Hear().has_drained());
}

// Some begin as they come, the others in their turn; who asks for something else does not wait.
TEST_F(RegistryServiceTest, LoadsWithoutEndArePacedAndWhatIsNoneIsNot) {
  constexpr int64_t kIntervalNs = 300 * kNanosPerMilli;
  Configure("repository: " + temp_.root() + "\nregistry: {load_interval_ms: 300}\n");
  HearCatalog();
  const int64_t begun_ns = MonotonicNanos();
  for (int i = 0; i < LoadPace::kBurst + 2; ++i) {
    Say([](ToProcess* m) { m->mutable_reload(); });
  }
  for (int i = 0; i < LoadPace::kBurst; ++i) HearCatalog();
  Say([](ToProcess* m) { m->mutable_drain(); });
  EXPECT_TRUE(Hear().has_drained());
  for (int i = 1; i <= 2; ++i) {
    HearCatalog();
    EXPECT_GE(MonotonicNanos(), begun_ns + i * kIntervalNs);
  }
}

// Watches; nothing here is ever said to it.
class WatchingTest : public RegistryServiceTest {
 protected:
  void ConfigureWatch(const std::string& how = "inotify") {
    Configure("repository: " + temp_.root() +
              "\nregistry: {settle_ms: 50, poll_ms: 100, watch: " + how + "}\n");
  }
  // Versions that answer, as "a/2".
  static std::vector<std::string> Served(const Catalog& catalog) {
    std::vector<std::string> names;
    for (const Model& model : catalog.models())
      names.push_back(model.name() + "/" + model.version());
    return names;
  }
  // A version that loads, put there as a careful writer does.
  void AddVersion(const std::string& model, int version, const std::string& plan = "PLAN") {
    const std::string folder = model + "/" + std::to_string(version);
    temp_.Write(model + "/.new/model.json", FakeReport{}.Line() + "\n" + plan + "\n");
    std::filesystem::rename(temp_.root() + "/" + model + "/.new", temp_.root() + "/" + folder);
  }
};

TEST_F(WatchingTest, ANewVersionIsServedAndTheOthersKeepTheirRoutes) {
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  temp_.AddModel("b", kPlain, FakeReport{}.Line());
  ConfigureWatch();
  EXPECT_THAT(Served(HearCatalog()), ElementsAre("a/1", "b/1"));
  AddVersion("a", 2);
  EXPECT_THAT(Served(HearCatalog()), ElementsAre("a/2", "b/1"));
  EXPECT_THAT(routes_, ElementsAre(8, 9));  // b is where it was: 8
}

TEST_F(WatchingTest, PolicyAllKeepsTheOthersAsTheyWereBuilt) {
  temp_.AddModel("a", std::string(kPlain) + "version_policy { all {} }\n", FakeReport{}.Line());
  ConfigureWatch();
  HearCatalog();
  AddVersion("a", 2);
  EXPECT_THAT(Served(HearCatalog()), ElementsAre("a/1", "a/2"));
  AddVersion("a", 3);
  EXPECT_THAT(Served(HearCatalog()), ElementsAre("a/1", "a/2", "a/3"));
  EXPECT_THAT(routes_, ElementsAre(7, 8, 9));
  std::filesystem::remove_all(temp_.root() + "/a/2");
  EXPECT_THAT(Served(HearCatalog()), ElementsAre("a/1", "a/3"));
}

TEST_F(WatchingTest, AVersionThatFailsLeavesTheOldOneAndSaysWhy) {
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  ConfigureWatch();
  HearCatalog();
  temp_.Write("a/2/model.json", "crash\n");
  const Catalog catalog = HearCatalog();
  EXPECT_THAT(Served(catalog), ElementsAre("a/1"));
  EXPECT_THAT(routes_, ElementsAre(7));
  ASSERT_EQ(catalog.failed_size(), 1);
  EXPECT_EQ(catalog.failed(0).version(), "2");
  EXPECT_THAT(catalog.failed(0).reason(), ::testing::HasSubstr("signal"));
  EXPECT_THAT(catalog.failed(0).reason(), ::testing::HasSubstr("served instead: version 1"));
  // Mended, it is taken.
  temp_.Write("a/2/model.json", FakeReport{}.Line());
  const Catalog mended = HearCatalog();
  EXPECT_THAT(Served(mended), ElementsAre("a/2"));
  EXPECT_EQ(mended.failed_size(), 0);
}

TEST_F(WatchingTest, AVersionThatIsBeingWrittenDoesNotHoldUpTheOthers) {
  temp_.AddModel("a", std::string(kPlain) + "version_policy { all {} }\n", FakeReport{}.Line());
  ConfigureWatch();
  HearCatalog();
  // Version 3 is half there, and version 1 is being overwritten, when version 2 comes.
  temp_.Write("a/1/model.json", "crash\n");
  temp_.Write("a/3/model.json", "crash\n");
  AddVersion("a", 2);
  const Catalog catalog = HearCatalog();
  EXPECT_THAT(Served(catalog), ElementsAre("a/1", "a/2"));
  EXPECT_EQ(catalog.failed_size(), 0);
  EXPECT_THAT(routes_, ElementsAre(7, 8));
  // Left like that they are tried, refused, and stood in for.
  Catalog tried = HearCatalog();
  // One stands still before the other, and what the first was refused for is said on.
  if (tried.failed_size() < 2) tried = HearCatalog();
  EXPECT_THAT(Served(tried), ElementsAre("a/1", "a/2"));
  EXPECT_EQ(tried.failed_size(), 2);
  EXPECT_THAT(routes_, ElementsAre(7, 8));
}

TEST_F(WatchingTest, AModelWhoseFolderIsGoneIsGoneAndOneThatComesComes) {
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  temp_.AddModel("b", kPlain, FakeReport{}.Line());
  ConfigureWatch("poll");
  HearCatalog();
  std::filesystem::remove_all(temp_.root() + "/a");
  EXPECT_THAT(Served(HearCatalog()), ElementsAre("b/1"));
  temp_.AddModel("c", kPlain, FakeReport{}.Line());
  EXPECT_THAT(Served(HearCatalog()), ElementsAre("b/1", "c/1"));
}

TEST_F(WatchingTest, ARepositoryThatVanishesTakesNothingAwayAndIsTakenUpAgain) {
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  ConfigureWatch();
  HearCatalog();
  const std::string aside = temp_.root() + ".aside";
  std::filesystem::rename(temp_.root(), aside);
  Say([](ToProcess* m) { m->mutable_reload(); });
  Say([](ToProcess* m) { m->mutable_drain(); });
  EXPECT_TRUE(Hear().has_drained());  // and no catalog before it
  std::filesystem::create_directory(temp_.root());
  Say([](ToProcess* m) { m->mutable_reload(); });
  Say([](ToProcess* m) { m->mutable_drain(); });
  EXPECT_TRUE(Hear().has_drained());
  std::filesystem::remove(temp_.root());
  std::filesystem::rename(aside, temp_.root());
  AddVersion("a", 2);
  EXPECT_THAT(Served(HearCatalog()), ElementsAre("a/2"));
}

TEST_F(WatchingTest, WhatIsUnloadedStaysOutWhateverChanges) {
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  temp_.AddModel("b", kPlain, FakeReport{}.Line());
  ConfigureWatch();
  HearCatalog();
  Say([](ToProcess* m) { m->mutable_change_model()->set_model("a"); });
  EXPECT_THAT(Served(HearCatalog()), ElementsAre("b/1"));
  EXPECT_TRUE(Hear().has_model_changed());
  AddVersion("a", 2);
  AddVersion("b", 2);
  Catalog catalog = HearCatalog();
  if (catalog.models(0).version() == "1") catalog = HearCatalog();  // told apart
  EXPECT_THAT(Served(catalog), ElementsAre("b/2"));
}

TEST_F(WatchingTest, WhatComesWhileLoadsArePacedComesTogetherInItsTurn) {
  Configure("repository: " + temp_.root() +
            "\nregistry: {settle_ms: 10, load_interval_ms: 500, watch: inotify}\n");
  HearCatalog();
  const int64_t begun_ns = MonotonicNanos();
  for (int i = 0; i < LoadPace::kBurst; ++i) {
    Say([](ToProcess* m) { m->mutable_reload(); });
    HearCatalog();
  }
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  temp_.AddModel("b", kPlain, FakeReport{}.Line());
  EXPECT_THAT(Served(HearCatalog()), ElementsAre("a/1", "b/1"));
  EXPECT_GE(MonotonicNanos(), begun_ns + 500 * kNanosPerMilli);
}

TEST_F(RegistryServiceTest, AnEmptyRepositoryIsServed) {
  ConfigureRepository();
  EXPECT_EQ(HearCatalog().models_size(), 0);
}

TEST_F(RegistryServiceTest, ARepositoryThatIsNotThereEndsTheProcess) {
  Configure("repository: " + temp_.root() + "/none\n");
  EXPECT_EQ(ExitCode(), kExitRepositoryUnreadable);
}

TEST_F(RegistryServiceTest, AConfigurationAtFaultEndsTheProcess) {
  Configure("repositry: x\n");
  EXPECT_EQ(ExitCode(), kExitConfigurationRefused);
}

TEST_F(RegistryServiceTest, ASupervisorThatIsGoneEndsTheProcess) {
  supervisor_ = ControlChannel();
  EXPECT_EQ(ExitCode(), kExitOrphan);
}

TEST_F(RegistryServiceTest, WhatCannotBeRightEndsTheProcess) {
  Say([](ToProcess* m) { m->mutable_reload(); });  // before Configure
  EXPECT_EQ(ExitCode(), kExitProtocol);
}

// The program itself: the messages wait in its socket, which it gets as descriptor 3.
class RegistryProgramTest : public ::testing::Test {
 protected:
  int Run(std::vector<std::string> arguments) {
    auto pair = ControlChannel::MakePair();
    supervisor_ = ControlChannel(std::move(pair->first));
    ToProcess configure, stop;
    configure.mutable_configure()->set_config_yaml("repository: " + temp_.root());
    stop.mutable_stop();
    EXPECT_TRUE(supervisor_.Send(configure).ok() && supervisor_.Send(stop).ok());
    ChildRequest request;
    request.program = "services/registry/registry";
    request.arguments = std::move(arguments);
    request.fds = {pair->second.get()};
    request.timeout_ns = 30'000'000'000;
    const absl::StatusOr<ChildResult> result = RunChild(request);
    EXPECT_TRUE(result.ok()) << result.status();
    log_ = result->errors;
    return result->exit_code;
  }

  TempRepository temp_;
  ControlChannel supervisor_;
  std::string log_;
};

TEST_F(RegistryProgramTest, ServesAndStops) {
  temp_.AddModel("a", kPlain, FakeReport{}.Line());
  EXPECT_EQ(Run({"--control_fd=3", std::string("--compiler=") + kFakeCompiler}), kExitOk) << log_;
  FromProcess message;
  std::vector<Fd> fds;
  // Its log and the routes come first.
  while (!message.has_publish_catalog()) {
    fds.clear();
    const absl::StatusOr<bool> received = supervisor_.Receive(&message, &fds);
    ASSERT_TRUE(received.ok() && *received) << received.status();
  }
  EXPECT_EQ(message.publish_catalog().plan_routes_size(), 1);
  EXPECT_EQ(fds.size(), 2u);
  EXPECT_THAT(log_, ::testing::HasSubstr("process=registry0 event=catalog_published generation=1"));
}

TEST_F(RegistryProgramTest, ExitCodesOfABadStart) {
  EXPECT_EQ(Run({"--compiler=/nonexistent"}), kExitCompilerMissing);
  EXPECT_EQ(Run({}), kExitUsage);
  EXPECT_EQ(Run({"--colour=red"}), kExitUsage);
  EXPECT_EQ(Run({"--control_fd=9", std::string("--compiler=") + kFakeCompiler}), kExitUsage);
  EXPECT_EQ(Run({"--control_fd=x", std::string("--compiler=") + kFakeCompiler}), kExitUsage);
}

}  // namespace
}  // namespace millrace
