// A rollout's controller over fake hands, and what it is told.
//
// Who may call: one test's thread.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "gtest/gtest.h"
#include "services/registry/rollout/controller.h"
#include "services/registry/rollout/testing/versions.h"

namespace millrace {

// A controller with version 1 as the route's, and what it is told.
struct ControllerRig {
  ControllerRig() {
    NamedRoute& route = hands.routes["churn"];
    route.set_name("churn");
    RouteRule* vip = route.add_rules();
    vip->add_tenants("vip");
    *vip->add_targets() = Target("1", 10'000);
    RouteRule* rest = route.add_rules();
    *rest->add_targets() = Target("1", 10'000);
    ShadowTarget* other = rest->add_shadows();
    other->set_model("audit");
    other->set_version("7");
    other->set_parts(100);
    before = route;
    controller = std::make_unique<RolloutController>(&hands);
  }
  static RouteTarget Target(const std::string& version, uint32_t weight) {
    RouteTarget target;
    target.set_model("churn");
    target.set_version(version);
    target.set_weight(weight);
    return target;
  }
  absl::StatusOr<std::string> Tell(nlohmann::json command) {
    command["verb"] = "rollout";
    if (!command.contains("name")) command["name"] = "churn";
    return controller->Command(command.dump(), "ann");
  }
  void Start(nlohmann::json more = nlohmann::json::object()) {
    nlohmann::json command = {
        {"action", "start"}, {"to", "2"}, {"every_ms", 20'000}, {"steps", {10, 50, 100}}};
    command.update(more);
    const auto started = Tell(command);
    ASSERT_TRUE(started.ok()) << started.status();
  }
  const Rollout& rollout() { return controller->rollouts().at("churn"); }
  RolloutPhase phase() { return rollout().phase; }
  std::string Reason() { return rollout().reason; }
  void Go(int seconds) {
    for (int i = 0; i < seconds && !HasEnded(phase()); ++i) {
      controller->OnStatistics(versions.Second(300));
      controller->Tick();
    }
  }
  void Restart() {
    controller = std::make_unique<RolloutController>(&hands);
    hands.watched.Clear();
    const absl::Status resumed = controller->Resume(hands.saved);
    ASSERT_TRUE(resumed.ok()) << resumed;
  }
  bool AsBefore() {
    return hands.routes["churn"].SerializeAsString() == before.SerializeAsString();
  }
  std::string Refusal(nlohmann::json command) {
    return std::string(Tell(command).status().message());
  }

  FakeHands hands;
  NamedRoute before;
  Behaviour good;
  Versions versions{&hands, 7, good, {}};
  std::unique_ptr<RolloutController> controller;
};

}  // namespace millrace
