// Hands that only write down what they were told, and a driver that plays the workers' part.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "ipc/memfd.h"
#include "services/supervisor/fleet.h"
#include "services/supervisor/stage_table.h"

namespace millrace {

inline SharedFd AnyFd() { return std::make_shared<const Fd>(memfd_create("any", MFD_CLOEXEC)); }

struct Told {
  uint32_t key;
  ToProcess message;
  size_t fds;
};

class FakeHands : public Hands {
 public:
  int64_t NowNs() override { return now_ns; }
  double Random() override { return 0.5; }
  uint32_t NewIncarnation() override { return next_incarnation++; }
  absl::Status Spawn(uint32_t key, Stage stage, uint32_t index, const CpuList& cpus) override {
    pinned[ProcessName(stage, index)] = cpus;
    journal.push_back("spawn " + ProcessName(stage, index));
    if (spawn_fails) return absl::NotFoundError("no such program");
    alive.insert(key);
    return absl::OkStatus();
  }
  absl::Status Send(uint32_t key, const ToProcess& message, const FdList& fds) override {
    EXPECT_TRUE(alive.count(key) > 0) << "told to a process that was reaped";
    if (full.count(key) > 0) return absl::ResourceExhaustedError("full");
    if (message.has_stop()) journal.push_back("stop " + std::to_string(key));
    if (message.has_drain()) journal.push_back("drain " + std::to_string(key));
    told.push_back({key, message, fds.size()});
    return absl::OkStatus();
  }
  void Signal(uint32_t key, int signal) override {
    journal.push_back("signal " + std::to_string(signal) + " " + std::to_string(key));
  }
  bool IsStopped(uint32_t key) override { return stopped.count(key) > 0; }
  absl::Status OpenPages(uint32_t, const std::vector<LanePage>& pages) override {
    if (page_is_bad) return absl::FailedPreconditionError("layout hash differs");
    for (const LanePage& page : pages) {
      looks[page.incarnation] = PageLook();
      looks[page.incarnation].oldest_catalog = UINT64_MAX;  // nothing is in flight
    }
    return absl::OkStatus();
  }
  std::optional<PageLook> Look(uint32_t incarnation) override {
    const auto it = looks.find(incarnation);
    if (it == looks.end()) return std::nullopt;
    return it->second;
  }
  const Page* PageOf(uint32_t incarnation) const override {
    const auto it = pages.find(incarnation);
    return it == pages.end() ? nullptr : it->second;
  }
  void Forget(uint32_t key) override { alive.erase(key); }
  void PublishRoster(absl::Span<const RosterEntry> lanes, const FdList& wakes) override {
    journal.push_back("roster");
    roster.assign(lanes.begin(), lanes.end());
    rosters_with_state.emplace_back(roster, state);
    wakes_last = wakes.size();
    rosters += 1;
    now_ns += publish_takes_ns;
  }

  void Store(const std::vector<std::pair<std::string, SharedFd>>& fds) override {
    for (const auto& [name, fd] : fds) stored[name] = fd;
  }
  void StoreState(const std::string& bytes) override {
    if (journal_stores) journal.push_back("store");
    state = bytes;
    states_kept.push_back(bytes);
  }
  void DropStored(const std::string& prefix) override {
    std::erase_if(stored, [&](const auto& kept) { return kept.first.rfind(prefix, 0) == 0; });
  }
  SharedFd TakeStored(const std::string& name) override {
    const auto it = stored.find(name);
    return it == stored.end() ? nullptr : it->second;
  }
  absl::Status Adopt(uint32_t key) override {
    journal.push_back("adopt " + std::to_string(key));
    if (alive.count(key) == 0) return absl::NotFoundError("not stored");
    return absl::OkStatus();
  }

  std::optional<LoadLook> SampleLoad() override {
    ++samples;
    return load;
  }

  const RosterEntry* InRoster(uint32_t incarnation) const {
    for (const RosterEntry& entry : roster) {
      if (entry.incarnation == incarnation) return &entry;
    }
    return nullptr;
  }

  int64_t now_ns = 1'000'000'000;
  int64_t publish_takes_ns = 1000;
  uint32_t next_incarnation = 1;
  bool spawn_fails = false;
  bool page_is_bad = false;
  std::set<uint32_t> alive, full, stopped;
  std::map<uint32_t, PageLook> looks;
  std::map<uint32_t, const Page*> pages;
  std::map<std::string, CpuList> pinned;
  std::optional<LoadLook> load;
  std::map<std::string, SharedFd> stored;
  std::string state;  // as stored last
  std::vector<std::string> states_kept;
  std::vector<std::pair<std::vector<RosterEntry>, std::string>> rosters_with_state;
  int samples = 0;
  bool journal_stores = false;
  std::vector<std::string> journal;  // what was done, in order
  std::vector<Told> told;
  std::vector<RosterEntry> roster;
  size_t wakes_last = 0;
  int rosters = 0;
};

// Plays well-behaved workers: whatever they are told is answered at once, unless `mute` holds the
// key.
class FleetTest : public testing::Test {
 protected:
  void Make(Config config = Config()) {
    FleetSetup setup;
    setup.config = config;
    setup.config_yaml = "{}";
    setup.roster = AnyFd();
    setup.listeners = {{0, AnyFd()}, {1, AnyFd()}};
    setup.cpus = {0, 1, 2, 3, 4, 5, 6, 7};
    setup.cores = cores;
    setup.hold = hold;
    setup.unloaded = unloaded;
    setup.observer = with_observer;
    fleet = std::make_unique<Fleet>(&hands, std::move(setup));
  }

  // Starts everything and plays until nobody has anything to say.
  void StartAll(Config config = Config()) {
    Make(config);
    fleet->Start();
    Play();
    ASSERT_TRUE(fleet->Ready());
  }

  void Play() {
    while (played < hands.told.size()) {
      const Told told = hands.told[played++];
      if (mute.count(told.key) > 0 || hands.alive.count(told.key) == 0) continue;
      Answer(told);
    }
  }

  void Say(uint32_t key, const FromProcess& message, size_t fds = 0) {
    std::vector<Fd> sent;
    for (size_t i = 0; i < fds; ++i) sent.emplace_back(memfd_create("any", MFD_CLOEXEC));
    fleet->OnMessage(key, message, std::move(sent));
  }

  void Publish(uint32_t registry, uint64_t generation, uint32_t route = 1) {
    Catalog catalog;
    catalog.set_generation(generation);
    catalog.add_models()->set_route(route);
    const std::string bytes = catalog.SerializeAsString();
    std::vector<Fd> fds;
    fds.push_back(std::move(*MakeSealedCopy("catalog", bytes.data(), bytes.size())));
    fds.emplace_back(memfd_create("plan", MFD_CLOEXEC));
    FromProcess message;
    message.mutable_publish_catalog()->set_generation(generation);
    message.mutable_publish_catalog()->add_plan_routes(route);
    fleet->OnMessage(registry, message, std::move(fds));
  }

  void Answer(const Told& told) {
    FromProcess reply;
    const ToProcess& message = told.message;
    if (message.has_configure()) {
      const Configure& configure = message.configure();
      stages[told.key] = static_cast<Stage>(configure.lanes(0).stage());
      if (stages[told.key] == Stage::kRegistry) {
        return Publish(told.key, configure.first_generation(), configure.first_route());
      }
      if (stages[told.key] == Stage::kObserver) {
        reply.mutable_observing()->set_address("127.0.0.1:1");
        return Say(told.key, reply);
      }
      const bool ledger = stages[told.key] == Stage::kIngress;
      for (const LaneName& lane : configure.lanes()) {
        lanes[told.key].push_back(lane.incarnation());
        *reply.mutable_announce()->add_lanes() = lane;
        reply.mutable_announce()->add_has_ledger(ledger);
      }
      Say(told.key, reply, lanes[told.key].size() * (ledger ? 4 : 3));
    } else if (message.has_peer()) {
      const auto theirs = static_cast<Stage>(message.peer().name().stage());
      for (uint32_t mine : lanes[told.key]) {
        const uint32_t other = message.peer().name().incarnation();
        if (IsEdge(stages[told.key], theirs)) SayHalf(told.key, mine, other);
        if (IsEdge(theirs, stages[told.key])) SayHalf(told.key, other, mine);
      }
    } else if (message.has_peer_half()) {
      reply.mutable_link_up()->set_producer(message.peer_half().producer());
      reply.mutable_link_up()->set_consumer(message.peer_half().consumer());
      Say(told.key, reply);
    } else if (message.has_catalog()) {
      reply.mutable_catalog_ready()->set_generation(message.catalog().generation());
      Say(told.key, reply);
    } else if (message.has_drain()) {
      reply.mutable_drained();
      Say(told.key, reply);
    } else if (message.has_stop()) {
      fleet->OnEnd(told.key, {0, 0});
    }
  }

  void SayHalf(uint32_t key, uint32_t producer, uint32_t consumer) {
    FromProcess message;
    message.mutable_half()->set_producer(producer);
    message.mutable_half()->set_consumer(consumer);
    Say(key, message, 1);
  }

  // One tick later; every lane but those in `silent` has beaten.
  void Tick() {
    hands.now_ns += Fleet::kTickNs;
    for (auto& [incarnation, look] : hands.looks) {
      if (silent.count(incarnation) == 0) look.beat += 1;
    }
    fleet->Tick();
  }

  uint32_t KeyOf(Stage stage, uint32_t index = 0) const {
    const auto it = fleet->slots().find({stage, index});
    return it == fleet->slots().end() ? 0 : it->second.key;
  }

  ProcessState StateOf(uint32_t key) const { return fleet->processes().at(key).state; }

  size_t CountTold(uint32_t key, ToProcess::MessageCase kind) const {
    size_t count = 0;
    for (const Told& t : hands.told) count += t.key == key && t.message.message_case() == kind;
    return count;
  }

  FakeHands hands;
  double cores = 8;
  bool hold = false;
  std::vector<std::string> unloaded;
  bool with_observer = false;
  std::unique_ptr<Fleet> fleet;
  size_t played = 0;
  std::set<uint32_t> mute, silent;
  std::map<uint32_t, Stage> stages;
  std::map<uint32_t, std::vector<uint32_t>> lanes;
};

}  // namespace millrace
