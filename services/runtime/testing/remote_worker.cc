#include "services/runtime/testing/remote_worker.h"

#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/check.h"
#include "ipc/testing/must.h"
#include "ipc/window.h"

namespace millrace {
namespace {

void NameLane(const LaneId& id, LaneName* name) {
  name->set_incarnation(id.incarnation);
  name->set_stage(static_cast<uint32_t>(id.stage));
  name->set_index(id.index);
  name->set_lane(id.lane);
}

template <typename End>
void TakeUp(TestLane* lane, std::shared_ptr<PeerLane> peer, End end) {
  auto shared = std::make_shared<End>(std::move(end));
  lane->lane.Post([=] { lane->lane.TakeUp(peer, std::move(*shared)); });
}

}  // namespace

RemoteWorker::RemoteWorker(LaneRig* rig, Stage stage, const std::string& program,
                           std::vector<std::string> arguments)
    : rig_(rig), id_(rig->AddRemote(stage, RosterState::kStarting)) {
  auto [ours, theirs] = Must(ControlChannel::MakePair());
  std::vector<char*> argv = {const_cast<char*>(program.c_str())};
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_ = fork();
  MR_CHECK(pid_ >= 0, "fork");
  if (pid_ == 0) {
    // Only what is safe between fork and exec.
    const bool same = theirs.get() == 3;
    if (same ? fcntl(3, F_SETFD, 0) != 0 : dup2(theirs.get(), 3) < 0) _exit(126);
    execv(argv[0], argv.data());
    _exit(127);
  }
  channel_ = ControlChannel(std::move(ours));
}

RemoteWorker::~RemoteWorker() {
  if (pid_ > 0) {
    Signal(SIGKILL);
    Reap();
  }
}

void RemoteWorker::Send(const ToProcess& message, std::vector<int> fds) {
  MustOk(channel_.Send(message, fds));
}

std::optional<FromProcess> RemoteWorker::Receive(std::vector<Fd>* fds) {
  std::vector<Fd> ignored;
  while (true) {
    FromProcess message;
    absl::StatusOr<bool> got = channel_.Receive(&message, fds != nullptr ? fds : &ignored);
    if (absl::IsUnavailable(got.status())) return std::nullopt;
    if (Must(std::move(got))) {
      if (message.has_traces() || message.has_logs()) {  // whenever there is time
        if (fds != nullptr) fds->clear();
        continue;
      }
      if (!message.has_link_up()) return message;
      link_ups_.emplace_back(message.link_up().producer(), message.link_up().consumer());
      continue;
    }
    pollfd p = {channel_.fd(), POLLIN, 0};
    MR_CHECK(poll(&p, 1, kPatienceMs) != 0, "the process says nothing");
  }
}

void RemoteWorker::Configure(const std::string& yaml) {
  ToProcess message;
  NameLane(id_, message.mutable_configure()->add_lanes());
  message.mutable_configure()->set_config_yaml(yaml);
  Send(message, {rig_->roster_fd()});
  std::optional<FromProcess> announced = Receive(&memory_);
  MR_CHECK(announced.has_value() && announced->has_announce(), "no announcement");
  MR_CHECK(memory_.size() == 3, "a worker announces page, arena and wake");
  page_ = Must(Region::Open(memory_[0].get(), kPageType, id_.incarnation, sizeof(Page)));
}

std::shared_ptr<PeerLane> RemoteWorker::MakeView() const {
  auto view = std::make_shared<PeerLane>();
  view->id = id_;
  view->page_region =
      Must(Region::Open(memory_[0].get(), kPageType, id_.incarnation, sizeof(Page)));
  view->arena = Must(ArenaView::Open(memory_[1].get(), id_.incarnation));
  view->waker = Waker(&view->page().parked, memory_[2].Duplicate());
  return view;
}

void RemoteWorker::SendPeer(TestLane* ingress) {
  ToProcess message;
  NameLane(ingress->lane.id(), message.mutable_peer()->mutable_name());
  message.mutable_peer()->set_has_ledger(true);
  const Lane::Memory& memory = ingress->lane.memory();
  Send(message, {memory.page.fd().get(), memory.arena.region().fd().get(), memory.wake.get(),
                 ingress->ledger->region().fd().get()});
}

void RemoteWorker::LinkWith(TestLane* ingress) {
  SendPeer(ingress);
  const std::shared_ptr<PeerLane> view = MakeView();
  const uint32_t mine = ingress->incarnation(), theirs = id_.incarnation;
  link_ups_.clear();
  const uint64_t slots = LinkSlots(Stage::kIngress, id_.stage);
  for (int i = 0; i < 2; ++i) {
    std::vector<Fd> fds;
    std::optional<FromProcess> half = Receive(&fds);
    MR_CHECK(half.has_value() && half->has_half() && fds.size() == 1, "no half of a link");
    ToProcess message;
    message.mutable_peer_half()->set_producer(half->half().producer());
    message.mutable_peer_half()->set_consumer(half->half().consumer());
    if (half->half().producer() == mine) {
      LinkProducer out = Must(LinkProducer::Create(mine, theirs, slots));
      MustOk(out.Attach(fds[0].get()));
      Send(message, {out.fd()});
      TakeUp(ingress, view, std::move(out));
    } else {
      LinkConsumer in = Must(LinkConsumer::Create(theirs, mine, slots));
      MustOk(in.Attach(fds[0].get()));
      Send(message, {in.fd()});
      TakeUp(ingress, view, std::move(in));
    }
  }
  while (link_ups_.size() < 2) {
    pollfd p = {channel_.fd(), POLLIN, 0};
    MR_CHECK(poll(&p, 1, kPatienceMs) > 0, "the links do not come up");
    FromProcess message;
    std::vector<Fd> fds;
    if (!Must(channel_.Receive(&message, &fds))) continue;
    if (message.has_traces()) continue;
    MR_CHECK(message.has_link_up(), "something else than a link came up");
    link_ups_.emplace_back(message.link_up().producer(), message.link_up().consumer());
  }
  rig_->SetState(id_.incarnation, RosterState::kReady);
  ingress->lane.Poll();
}

bool RemoteWorker::Dead() const {
  // acquire: meets the release of SayDying in services/runtime/liveness.cc; the kernel's own
  // store needs none.
  return (page().liveness.load(std::memory_order_acquire) & FUTEX_OWNER_DIED) != 0;
}

void RemoteWorker::Signal(int signal) { kill(pid_, signal); }

int RemoteWorker::Reap() {
  int status = 0;
  for (int waited = 0; waitpid(pid_, &status, WNOHANG) == 0; ++waited) {
    MR_CHECK(waited < kPatienceMs, "the process does not end");
    usleep(1000);
  }
  pid_ = -1;
  return status;
}

}  // namespace millrace
