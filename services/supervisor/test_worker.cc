// A process of the tree test: every stage's protocol with the supervisor, and no work.
//
// The name of its folder tells the stage. It announces real pages whose liveness word its main
// thread holds, makes stand-ins for halves of links, answers catalogs, drains and stops. Its lane
// beats every 10 ms. A file misbehave-<stage> in the repository's folder, read at the start and at
// each beat, makes it misbehave:
//   exit CODE   end at once, before announcing
//   hang        stop beating, and nothing else
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "common/log.h"
#include "ipc/catalog.pb.h"
#include "ipc/control.pb.h"
#include "ipc/control_channel.h"
#include "ipc/memfd.h"
#include "ipc/page.h"
#include "ipc/roster.h"

namespace millrace {
namespace {

constexpr RegionType kAnyType = {RegionKind::kArena, 1};

struct TestLane {
  uint32_t incarnation;
  Region page;
  Region arena;
  Fd wake;
};

robust_list g_node;
robust_list_head g_head;

void HoldWord(Page* page) {
  g_node.next = &g_head.list;
  g_head.list.next = &g_node;
  g_head.futex_offset = reinterpret_cast<char*>(&page->liveness) - reinterpret_cast<char*>(&g_node);
  page->liveness.store(static_cast<uint32_t>(gettid()) | FUTEX_WAITERS);
  syscall(SYS_set_robust_list, &g_head, sizeof g_head);
}

class TestWorker {
 public:
  explicit TestWorker(std::string stage) : stage_(std::move(stage)), channel_(Fd(3)) {}

  int Run() {
    while (true) {
      pollfd wait = {channel_.fd(), POLLIN, 0};
      poll(&wait, 1, -1);
      ToProcess message;
      std::vector<Fd> fds;
      const absl::StatusOr<bool> received = channel_.Receive(&message, &fds);
      if (!received.ok()) return 77;
      if (!*received) continue;
      if (message.has_stop()) _exit(0);
      Handle(message);
    }
  }

 private:
  void Handle(const ToProcess& message) {
    FromProcess reply;
    if (message.has_configure()) {
      Configured(message.configure());
    } else if (message.has_peer()) {
      Met(message.peer());
    } else if (message.has_peer_half()) {
      reply.mutable_link_up()->set_producer(message.peer_half().producer());
      reply.mutable_link_up()->set_consumer(message.peer_half().consumer());
      Send(reply);
    } else if (message.has_catalog()) {
      // Nothing of an older one is in flight.
      for (TestLane& lane : lanes_) {
        lane.page.as<Page>()->Set(Counter::kOldestCatalog, message.catalog().generation());
      }
      reply.mutable_catalog_ready()->set_generation(message.catalog().generation());
      Send(reply);
    } else if (message.has_drain()) {
      Log(LogLevel::kInfo, "drain");
      reply.mutable_drained();
      Send(reply);
    } else if (message.has_reload()) {
      Publish(++generation_);
    } else if (message.has_peer_gone()) {
      Log(LogLevel::kInfo, "peer_gone", {{"incarnation", message.peer_gone().incarnation()}});
    }
  }

  std::string Misbehaviour() const {
    std::ifstream file(folder_ + "/misbehave-" + stage_);
    std::string text;
    std::getline(file, text);
    return text;
  }

  void Configured(const Configure& configure) {
    stage_number_ = configure.lanes(0).stage();
    SetLogProcess(stage_ + std::to_string(configure.lanes(0).index()));
    const std::string yaml = configure.config_yaml(), key = "repository: \"";
    const size_t at = yaml.find(key) + key.size();
    folder_ = yaml.substr(at, yaml.find('"', at) - at);
    const std::string misbehaviour = Misbehaviour();
    if (misbehaviour.rfind("exit ", 0) == 0) _exit(atoi(misbehaviour.c_str() + 5));
    if (stage_ == "registry") {
      generation_ = configure.first_generation();
      first_route_ = configure.first_route();
      return Publish(generation_);
    }
    Announce(configure);
    std::thread([this] { Beat(); }).detach();
  }

  void Announce(const Configure& configure) {
    FromProcess message;
    std::vector<int> fds;
    for (const LaneName& name : configure.lanes()) {
      TestLane lane{name.incarnation(), Region(), Region(), Fd(eventfd(0, EFD_NONBLOCK))};
      lane.page = std::move(*Region::Create(kPageType, name.incarnation(), sizeof(Page)));
      lane.arena = std::move(*Region::Create(kAnyType, name.incarnation(), 1 << 16));
      *message.mutable_announce()->add_lanes() = name;
      message.mutable_announce()->add_has_ledger(false);
      for (int fd : {lane.page.fd().get(), lane.arena.fd().get(), lane.wake.get()}) {
        fds.push_back(fd);
      }
      lanes_.push_back(std::move(lane));
    }
    HoldWord(lanes_[0].page.as<Page>());
    channel_.Send(message, fds).IgnoreError();
  }

  void Met(const Peer& peer) {
    const auto mine = static_cast<Stage>(stage_number_);
    const auto theirs = static_cast<Stage>(peer.name().stage());
    for (const TestLane& lane : lanes_) {
      if (IsEdge(mine, theirs)) SendHalf(lane.incarnation, peer.name().incarnation());
      if (IsEdge(theirs, mine)) SendHalf(peer.name().incarnation(), lane.incarnation);
    }
  }

  void SendHalf(uint32_t producer, uint32_t consumer) {
    FromProcess message;
    message.mutable_half()->set_producer(producer);
    message.mutable_half()->set_consumer(consumer);
    channel_.Send(message, {lanes_[0].arena.fd().get()}).IgnoreError();
  }

  void Publish(uint64_t generation) {
    Catalog catalog;
    catalog.set_generation(generation);
    Model* model = catalog.add_models();
    model->set_name("m");
    model->set_version("1");
    model->set_route(first_route_);
    FailedModel* failed = catalog.add_failed();
    failed->set_name("broken");
    failed->set_version("3");
    failed->set_reason("model.json: cut short");
    const std::string bytes = catalog.SerializeAsString();
    const auto fd = MakeSealedCopy("catalog", bytes.data(), bytes.size());
    const auto plan = MakeSealedCopy("plan", "plan", 4);
    FromProcess message;
    message.mutable_publish_catalog()->set_generation(generation);
    message.mutable_publish_catalog()->add_plan_routes(first_route_);
    channel_.Send(message, {fd->get(), plan->get()}).IgnoreError();
  }

  void Send(const FromProcess& message) { channel_.Send(message).IgnoreError(); }

  void Beat() {
    while (true) {
      const std::string misbehaviour = Misbehaviour();
      for (TestLane& lane : lanes_) {
        auto* page = lane.page.as<Page>();
        if (misbehaviour != "hang") page->beat.fetch_add(1);
        page->Set(Counter::kAnswered, 1);
      }
      usleep(10'000);
    }
  }

  std::string stage_;
  std::string folder_;
  uint32_t stage_number_ = 0;
  uint64_t generation_ = 0;
  uint32_t first_route_ = 0;
  ControlChannel channel_;
  std::vector<TestLane> lanes_;
};

}  // namespace
}  // namespace millrace

int main(int, char** argv) {
  signal(SIGTERM, SIG_IGN);
  const std::string path = argv[0];
  return millrace::TestWorker(path.substr(path.rfind('/') + 1)).Run();
}
