#include "services/supervisor/admin_verbs.h"

#include <signal.h>

#include "gtest/gtest.h"
#include "services/supervisor/fleet_fake.h"

namespace millrace {
namespace {

using nlohmann::json;

class AdminVerbsTest : public FleetTest {
 protected:
  json Ask(const std::string& line, int64_t waited_ns = 0) {
    AdminContext context;
    context.fleet = fleet.get();
    context.pid_of = [](uint32_t key) { return static_cast<pid_t>(1000 + key); };
    context.cpus_of = [](uint32_t) { return CpuList{0, 1, 4}; };
    context.page_of = [this](uint32_t incarnation) -> const Page* {
      return hands.looks.count(incarnation) > 0 ? page.as<const Page>() : nullptr;
    };
    context.listeners = {{"grpc", "127.0.0.1:8001"}};
    context.started_ns = 1;
    const std::optional<std::string> reply =
        AnswerAdmin(context, line, hands.now_ns - waited_ns, hands.now_ns);
    if (!reply.has_value()) return nullptr;
    EXPECT_EQ(reply->find('\n'), std::string::npos);
    return json::parse(*reply);
  }

  Region page = std::move(*Region::Create(kPageType, 1, sizeof(Page)));
};

TEST_F(AdminVerbsTest, StatusTellsOfEveryProcess) {
  StartAll();
  page.as<Page>()->Add(Counter::kAnswered, 21);
  page.as<Page>()->Set(Counter::kQueueDepth, 2);
  const json status = Ask(R"({"verb":"status"})");
  EXPECT_EQ(status["ok"], true);
  EXPECT_EQ(status["ready"], true);
  EXPECT_EQ(status["last_reroute_us"], nullptr);
  EXPECT_EQ(status["foreign_cores"], nullptr);
  EXPECT_EQ(status["listeners"][0]["address"], "127.0.0.1:8001");
  EXPECT_EQ(status["catalog"]["live_generation"], 1);
  ASSERT_EQ(status["processes"].size(), 5u);
  for (const json& process : status["processes"]) {
    EXPECT_EQ(process["state"], "ready");
    EXPECT_EQ(process["pid"], 1000 + process["incarnation"].get<int>());
    const bool ingress = process["stage"] == "ingress", registry = process["stage"] == "registry";
    EXPECT_EQ(process["lanes"].size(), ingress ? 2u : 1u);
    EXPECT_EQ(process["cpus"], "0-1,4");
    EXPECT_EQ(process["wait"], registry ? json() : json("yield"));
    // Of all lanes together.
    EXPECT_EQ(process["counters"].value("answered", 0), registry ? 0 : ingress ? 42 : 21);
    EXPECT_EQ(process["queue_depth"], registry ? 0 : ingress ? 4 : 2);
  }
}

TEST_F(AdminVerbsTest, ReadyIsAlsoWhatIngressHasShown) {
  StartAll();
  GoldenWords& words = page.as<Page>()->golden;
  words.ready_until_ns.Set(hands.now_ns + 1);
  EXPECT_EQ(Ask(R"({"verb":"status"})")["ready"], true);
  EXPECT_EQ(Ask(R"({"verb":"wait_ready"})")["ready"], true);
  words.ready_until_ns.Set(hands.now_ns - 1);
  EXPECT_EQ(Ask(R"({"verb":"status"})")["ready"], false);
  EXPECT_EQ(Ask(R"({"verb":"wait_ready"})"), nullptr) << "it waits";
}

TEST_F(AdminVerbsTest, StatusTellsWhereModelsRun) {
  StartAll();
  const uint32_t key = KeyOf(Stage::kExecution);
  const auto execution = [&] {
    const json status = Ask(R"({"verb":"status"})");
    for (const json& process : status["processes"]) {
      if (process["stage"] == "execution") return process;
      EXPECT_FALSE(process.contains("kernels"));
    }
    return json();
  };
  EXPECT_EQ(execution()["device"], nullptr) << "it has not told yet";
  EXPECT_EQ(execution()["kernels"], json::array());
  FromProcess report;
  report.mutable_device_report()->set_cpu("avx2");
  report.mutable_device_report()->set_state("no_driver");
  report.mutable_device_report()->set_why_not("no driver; serving from the CPU");
  Say(key, report);
  FromProcess choice;
  choice.mutable_kernel_choice()->set_route(1);
  choice.mutable_kernel_choice()->set_device_from_rows(33);
  choice.mutable_kernel_choice()->set_device_bytes(5);
  KernelChoice::Bucket* bucket = choice.mutable_kernel_choice()->add_buckets();
  bucket->set_rows(64);
  bucket->set_cpu_ns(31'000);
  bucket->set_device_ns(25'000);
  bucket->set_cpu_estimated(true);
  Say(key, choice);
  EXPECT_EQ(execution()["device"], (json{{"cpu", "avx2"},
                                         {"device", ""},
                                         {"state", "no_driver"},
                                         {"why_not", "no driver; serving from the CPU"}}));
  EXPECT_EQ(execution()["device_losses"], 0);
  const json kernels = execution()["kernels"];
  ASSERT_EQ(kernels.size(), 1u);
  EXPECT_EQ(kernels[0]["device_from_rows"], 33);
  EXPECT_EQ(kernels[0]["device_bytes"], 5);
  EXPECT_EQ(kernels[0]["buckets"], json::array({{{"rows", 64},
                                                 {"cpu_ns", 31'000},
                                                 {"device_ns", 25'000},
                                                 {"cpu_estimated", true},
                                                 {"device_estimated", false}}}));
}

TEST_F(AdminVerbsTest, StatusTellsOfAWorkerThatWaitsAndOfTheReroute) {
  StartAll();
  for (int i = 0; i < 2; ++i) fleet->OnDeath(KeyOf(Stage::kFeatures), hands.now_ns - 4000);
  const json status = Ask(R"({"verb":"status"})");
  EXPECT_EQ(status["ready"], false);
  EXPECT_EQ(status["last_reroute_us"], 5);
  ASSERT_EQ(status["waiting"].size(), 1u);
  EXPECT_EQ(status["waiting"][0]["name"], "features0");
  EXPECT_GE(status["waiting"][0]["starts_in_ms"], 99);
  EXPECT_EQ(status["waiting"][0]["failures"], 2);
}

TEST_F(AdminVerbsTest, ASpareIsShownAsOneAndAPromotionIsCounted) {
  Config config;
  config.execution_spare = 1;
  StartAll(config);
  const auto states = [&] {
    std::map<std::string, std::string> found;
    const json status = Ask(R"({"verb":"status"})");
    for (const json& process : status["processes"]) found[process["name"]] = process["state"];
    found["promotions"] = std::to_string(status["promotions"].get<int>());
    return found;
  };
  auto seen = states();
  EXPECT_EQ(seen["execution0"], "ready");
  EXPECT_EQ(seen["execution_spare0"], "spare");
  EXPECT_EQ(seen["promotions"], "0");
  fleet->OnDeath(KeyOf(Stage::kExecution), hands.now_ns);
  for (int i = 0; i < 4; ++i) Tick();
  seen = states();
  EXPECT_EQ(seen["execution_spare0"], "starting");
  EXPECT_EQ(seen["promotions"], "1");
}

TEST_F(AdminVerbsTest, QuarantineAndBreakersAreAsIngressTold) {
  StartAll();
  uint32_t ingress = 0, execution = 0;
  for (const auto& [key, process] : fleet->processes()) {
    if (process.stage == Stage::kIngress) ingress = key;
    if (process.stage == Stage::kExecution) execution = key;
  }
  EXPECT_EQ(Ask(R"({"verb":"quarantine"})")["requests"].size(), 0u);
  FromProcess poison;
  Quarantined* record = poison.mutable_quarantined();
  record->set_model(std::string(1000, 'm'));
  record->set_rows(2);
  record->set_client_id_hash(0xab);
  auto* tensor = record->add_tensors();
  tensor->set_datatype(11);
  tensor->set_columns(3);
  tensor->set_bytes(24);
  auto* death = record->add_deaths();
  death->set_stage(4);
  death->set_incarnation(9);
  death->set_reason(SIGSEGV);
  fleet->OnMessage(execution, poison, {});  // not its to say
  EXPECT_EQ(Ask(R"({"verb":"quarantine"})")["poisoned"], 0);
  for (size_t i = 0; i < IncidentDesk::kMost + 5; ++i) fleet->OnMessage(ingress, poison, {});
  const json quarantine = Ask(R"({"verb":"quarantine"})");
  EXPECT_EQ(quarantine["poisoned"], IncidentDesk::kMost + 5);
  ASSERT_EQ(quarantine["requests"].size(), IncidentDesk::kMost);
  const json first = quarantine["requests"][0];
  EXPECT_EQ(first["model"], std::string(256, 'm'));
  EXPECT_EQ(first["client_id_hash"], "00000000000000ab");
  EXPECT_EQ(first["tensors"][0], (json{{"datatype", "FP32"}, {"shape", {2, 3}}, {"bytes", 24}}));
  EXPECT_EQ(first["deaths"][0]["stage"], "execution");
  EXPECT_EQ(first["deaths"][0]["signal"], SIGSEGV);

  FromProcess change;
  change.mutable_breaker_changed()->set_model("digits");
  change.mutable_breaker_changed()->set_state(1);
  change.mutable_breaker_changed()->set_deaths(5);
  fleet->OnMessage(ingress, change, {});
  const json status = Ask(R"({"verb":"status"})");
  ASSERT_EQ(status["breakers"].size(), 1u);
  EXPECT_EQ(status["breakers"][0]["state"], "open");
  EXPECT_EQ(status["poisoned"], IncidentDesk::kMost + 5);
  change.mutable_breaker_changed()->set_state(0);
  fleet->OnMessage(ingress, change, {});
  EXPECT_TRUE(Ask(R"({"verb":"status"})")["breakers"].empty());
}

TEST_F(AdminVerbsTest, WhatIsNotUnderstoodIsRefusedWithItsField) {
  StartAll();
  const std::pair<const char*, const char*> cases[] = {
      {"", "request"},
      {"[]", "request"},
      {"{", "request"},
      {"{}", "verb"},
      {R"({"verb":7})", "verb"},
      {R"({"verb":"dance"})", "verb"},
      {R"({"verb":"scale"})", "stage"},
      {R"({"verb":"scale","stage":3,"count":1})", "stage"},
      {R"({"verb":"scale","stage":"kitchen","count":1})", "stage"},
      {R"({"verb":"scale","stage":"registry","count":1})", "stage"},
      {R"({"verb":"scale","stage":"features"})", "count"},
      {R"({"verb":"scale","stage":"features","count":"two"})", "count"},
      {R"({"verb":"scale","stage":"features","count":1e30})", "count"},
      {R"({"verb":"scale","stage":"features","count":-1})", "count"},
      {R"({"verb":"debt","max_age_days":-1})", "max_age_days"},
      {R"({"verb":"debt","max_age_days":"x"})", "max_age_days"},
      {R"({"verb":"debt","max_untagged_percent":101})", "max_untagged_percent"},
      {R"({"verb":"wait_ready","timeout_ms":-1})", "timeout_ms"},
      {R"({"verb":"wait_ready","timeout_ms":"x"})", "timeout_ms"},
      {"\xff\xfe", "request"},
  };
  for (const auto& [line, field] : cases) {
    const json reply = Ask(line);
    EXPECT_EQ(reply["ok"], false) << line;
    EXPECT_NE(reply["error"].get<std::string>().find(field), std::string::npos) << reply;
  }
}

TEST_F(AdminVerbsTest, WhatIsOwedOnTheCatalogAndTheFleet) {
  StartAll();  // with one execution process, and a model that has no manifest
  const auto kinds = [this](const std::string& line) {
    std::vector<std::string> found;
    const json reply = Ask(line);
    for (const json& item : reply["debt"]) found.push_back(item["kind"]);
    return found;
  };
  using Kinds = std::vector<std::string>;
  EXPECT_EQ(kinds(R"({"verb":"debt"})"), Kinds({"unsigned", "unpinned", "one_worker"}));
  const json reply = Ask(R"({"verb":"debt","max_age_days":7})");
  EXPECT_EQ(reply["limits"]["max_age_days"], 7);
  EXPECT_EQ(reply["versions"].size(), 1u);
  EXPECT_EQ(reply["versions"][0]["read_only"], false);
  EXPECT_EQ(reply["versions"][0]["weights_age_days"], nullptr);
  ASSERT_TRUE(fleet->Scale(Stage::kExecution, 2).ok());
  Play();
  EXPECT_EQ(kinds(R"({"verb":"debt"})"), Kinds({"unsigned", "unpinned"}));
}

TEST_F(AdminVerbsTest, ScaleAndStop) {
  StartAll();
  EXPECT_EQ(Ask(R"({"verb":"scale","stage":"execution","count":2})")["ok"], true);
  EXPECT_NE(KeyOf(Stage::kExecution, 1), 0u);
  EXPECT_EQ(Ask(R"({"verb":"reload"})")["ok"], true);
  EXPECT_EQ(CountTold(KeyOf(Stage::kRegistry), ToProcess::kReload), 1u);
  EXPECT_EQ(Ask(R"({"verb":"stop"})")["ok"], true);
  EXPECT_EQ(fleet->phase(), FleetPhase::kDraining);
  EXPECT_EQ(Ask(R"({"verb":"scale","stage":"execution","count":3})")["ok"], false);
}

TEST_F(AdminVerbsTest, AModelIsLoadedAndUnloaded) {
  StartAll();
  const uint32_t registry = KeyOf(Stage::kRegistry);
  const char* line = R"({"verb":"unload","model":"m","unload_dependents":true})";
  EXPECT_EQ(Ask(line, 5), nullptr) << "it waits";
  ASSERT_EQ(CountTold(registry, ToProcess::kChangeModel), 1u);
  const ChangeModel asked = hands.told.back().message.change_model();
  EXPECT_EQ(asked.model(), "m");
  EXPECT_FALSE(asked.load());
  EXPECT_TRUE(asked.unload_dependents());
  EXPECT_EQ(Ask(line, 5), nullptr) << "the same line, which is not asked twice";
  EXPECT_EQ(CountTold(registry, ToProcess::kChangeModel), 1u);
  FromProcess changed;
  changed.mutable_model_changed()->set_request(asked.request());
  changed.mutable_model_changed()->set_code(9);
  changed.mutable_model_changed()->set_message("it is needed");
  Say(registry, changed);
  EXPECT_EQ(Ask(line, 5)["error"], "it is needed");
  EXPECT_EQ(Ask(R"({"verb":"load","model":7})")["ok"], false);
  EXPECT_EQ(Ask(R"({"verb":"load","model":"m","unload_dependents":true})")["ok"], false);
}

TEST_F(AdminVerbsTest, WaitReadyWaitsUpToItsLimit) {
  Make();
  fleet->Start();
  const char* line = R"({"verb":"wait_ready","timeout_ms":500})";
  EXPECT_EQ(Ask(line), nullptr) << "it waits";
  EXPECT_EQ(Ask(line, 499 * kNanosPerMilli), nullptr);
  EXPECT_EQ(Ask(line, 500 * kNanosPerMilli)["ready"], false);
  Play();
  EXPECT_EQ(Ask(line)["ready"], true);
}

}  // namespace
}  // namespace millrace
