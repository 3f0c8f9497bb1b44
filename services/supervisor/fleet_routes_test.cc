// Routes as the fleet hands them on: to every ingress, whoever dies; and changes of them.
#include <algorithm>
#include <string>

#include "gtest/gtest.h"
#include "ipc/routes.pb.h"
#include "services/supervisor/fleet_fake.h"

namespace millrace {
namespace {

class FleetRoutesTest : public FleetTest {
 protected:
  void PublishRoutesOf(uint64_t generation, const std::string& name) {
    Routes routes;
    routes.set_generation(generation);
    routes.add_routes()->set_name(name);
    const std::string bytes = routes.SerializeAsString();
    std::vector<Fd> fds;
    fds.push_back(std::move(*MakeSealedCopy("routes", bytes.data(), bytes.size())));
    FromProcess message;
    message.mutable_publish_routes()->set_generation(generation);
    fleet->OnMessage(KeyOf(Stage::kRegistry), message, std::move(fds));
  }
  // The serial number of the routes that it was told last; 0: none.
  uint64_t ToldRoutes(uint32_t key) const {
    uint64_t serial = 0;
    for (const Told& told : hands.told) {
      if (told.key != key || !told.message.has_routes()) continue;
      EXPECT_EQ(told.fds, 1u);
      serial = told.message.routes().generation();
    }
    return serial;
  }
  void SayTaken(uint32_t key, uint64_t serial) {
    FromProcess message;
    message.mutable_routes_taken()->set_generation(serial);
    Say(key, message);
  }
  ChangeRoutes Command(uint64_t request) {
    ChangeRoutes change;
    change.set_request(request);
    change.set_command_json(R"({"verb":"route","action":"list"})");
    change.set_who("uid:1");
    return change;
  }
  // As the registry was asked last.
  ChangeRoutes Asked() const {
    ChangeRoutes asked;
    for (const Told& told : hands.told) {
      if (told.message.has_change_routes()) asked = told.message.change_routes();
    }
    return asked;
  }
  void SayChanged(uint64_t number, uint64_t generation, int code = 0) {
    FromProcess message;
    message.mutable_routes_changed()->set_request(number);
    message.mutable_routes_changed()->set_generation(generation);
    message.mutable_routes_changed()->set_code(code);
    Say(KeyOf(Stage::kRegistry), message);
  }
};

TEST_F(FleetRoutesTest, EveryIngressIsToldAlsoOneThatStartsLater) {
  Config config;
  config.ingress_workers = 2;
  StartAll(config);
  EXPECT_EQ(ToldRoutes(KeyOf(Stage::kIngress, 0)), 0u);
  PublishRoutesOf(5, "m");
  const uint64_t first = ToldRoutes(KeyOf(Stage::kIngress, 0));
  EXPECT_NE(first, 0u);
  EXPECT_EQ(ToldRoutes(KeyOf(Stage::kIngress, 1)), first);
  EXPECT_EQ(ToldRoutes(KeyOf(Stage::kExecution)), 0u);
  // Said again it is nothing new; another content is, whatever its number.
  PublishRoutesOf(5, "m");
  EXPECT_EQ(CountTold(KeyOf(Stage::kIngress, 0), ToProcess::kRoutes), 1u);
  PublishRoutesOf(2, "n");
  EXPECT_GT(ToldRoutes(KeyOf(Stage::kIngress, 0)), first);
  // The next incarnation has them before it can be told of a catalog.
  const uint32_t before = KeyOf(Stage::kIngress, 0);
  fleet->OnEnd(before, {0, 9});
  hands.now_ns += 10 * kNanosPerSecond;
  Tick();
  Play();
  const uint32_t after = KeyOf(Stage::kIngress, 0);
  ASSERT_NE(after, before);
  const auto at = [&](ToProcess::MessageCase kind) {
    return std::find_if(hands.told.begin(), hands.told.end(), [&](const Told& told) {
      return told.key == after && told.message.message_case() == kind;
    });
  };
  EXPECT_LT(at(ToProcess::kRoutes), at(ToProcess::kCatalogLive));
}

TEST_F(FleetRoutesTest, AChangeIsAnsweredOnceEveryIngressHasTakenIt) {
  Config config;
  config.ingress_workers = 2;
  StartAll(config);
  EXPECT_FALSE(fleet->RoutesForAdmin(Command(77)).has_value());
  EXPECT_FALSE(fleet->RoutesForAdmin(Command(77)).has_value());
  EXPECT_EQ(CountTold(KeyOf(Stage::kRegistry), ToProcess::kChangeRoutes), 1u);
  EXPECT_EQ(Asked().who(), "uid:1");
  PublishRoutesOf(5, "m");
  SayChanged(Asked().request(), 5);
  const uint64_t serial = ToldRoutes(KeyOf(Stage::kIngress, 0));
  SayTaken(KeyOf(Stage::kIngress, 0), serial);
  EXPECT_FALSE(fleet->RoutesForAdmin(Command(77)).has_value());
  EXPECT_FALSE(fleet->TakeNewsForAdmin());
  SayTaken(KeyOf(Stage::kIngress, 1), serial);
  EXPECT_TRUE(fleet->TakeNewsForAdmin());
  const std::optional<RoutesChanged> answer = fleet->RoutesForAdmin(Command(77));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->code(), 0);
  EXPECT_EQ(answer->request(), 77u);
}

TEST_F(FleetRoutesTest, WhatTheRegistryRefusesIsAnsweredAtOnce) {
  StartAll();
  fleet->RoutesForAdmin(Command(77));
  SayChanged(Asked().request(), 0, 3);
  const std::optional<RoutesChanged> answer = fleet->RoutesForAdmin(Command(77));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->code(), 3);
}

// An ingress that dies meanwhile is not waited for, and a registry that does is said.
TEST_F(FleetRoutesTest, WhoDiesHoldsUpNobody) {
  Config config;
  config.ingress_workers = 2;
  StartAll(config);
  fleet->RoutesForAdmin(Command(77));
  PublishRoutesOf(5, "m");
  SayChanged(Asked().request(), 5);
  SayTaken(KeyOf(Stage::kIngress, 0), ToldRoutes(KeyOf(Stage::kIngress, 0)));
  fleet->OnEnd(KeyOf(Stage::kIngress, 1), {0, 9});
  EXPECT_TRUE(fleet->RoutesForAdmin(Command(77)).has_value());
  fleet->RoutesForAdmin(Command(78));
  fleet->OnEnd(KeyOf(Stage::kRegistry), {0, 9});
  const std::optional<RoutesChanged> answer = fleet->RoutesForAdmin(Command(78));
  ASSERT_TRUE(answer.has_value());
  EXPECT_NE(answer->code(), 0);
}

TEST_F(FleetRoutesTest, AnIngressMayAskAndHasItsAnswer) {
  StartAll();
  const uint32_t ingress = KeyOf(Stage::kIngress);
  FromProcess message;
  *message.mutable_change_routes() = Command(3);
  Say(ingress, message);
  SayChanged(Asked().request(), 0);
  ASSERT_TRUE(hands.told.back().message.has_routes_changed());
  EXPECT_EQ(hands.told.back().key, ingress);
  EXPECT_EQ(hands.told.back().message.routes_changed().request(), 3u);
}

TEST_F(FleetRoutesTest, WhoMayNotSaySoIsEnded) {
  StartAll();
  const uint32_t execution = KeyOf(Stage::kExecution);
  FromProcess message;
  *message.mutable_change_routes() = Command(3);
  Say(execution, message);
  EXPECT_EQ(StateOf(execution), ProcessState::kDying);
  const uint32_t ingress = KeyOf(Stage::kIngress);
  SayTaken(ingress, 99);  // never sent
  EXPECT_EQ(StateOf(ingress), ProcessState::kDying);
  const uint32_t registry = KeyOf(Stage::kRegistry);
  FromProcess bad;
  bad.mutable_publish_routes()->set_generation(1);
  Say(registry, bad, 1);  // no routes in it
  EXPECT_EQ(StateOf(registry), ProcessState::kDying);
}

TEST_F(FleetRoutesTest, TheNextSupervisorHasThemAndTellsThemAgain) {
  StartAll();
  PublishRoutesOf(5, "m");
  const uint32_t ingress = KeyOf(Stage::kIngress);
  const uint64_t serial = ToldRoutes(ingress);
  SayTaken(ingress, serial);
  FleetState state;
  ASSERT_TRUE(state.ParseFromString(hands.state));
  Make();
  fleet->Adopt(state);
  EXPECT_EQ(fleet->routes().routes().generation(), 5u);
  const uint64_t again = ToldRoutes(ingress);
  EXPECT_GT(again, serial);  // no number that the last one may have given out
  // The registry says them again: nothing new, and the ingress is told no third time.
  const size_t told = CountTold(ingress, ToProcess::kRoutes);
  PublishRoutesOf(5, "m");
  EXPECT_EQ(CountTold(ingress, ToProcess::kRoutes), told);
}

}  // namespace
}  // namespace millrace
