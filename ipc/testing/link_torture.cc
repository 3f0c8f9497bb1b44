#include "ipc/testing/link_torture.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "ipc/testing/history_check.h"
#include "ipc/testing/must.h"

namespace millrace {
namespace {

// After so many rounds both may finish, and the histories so far are judged.
constexpr int kRoundsPerLife = 10;
constexpr int64_t kPatienceNs = 30 * kNanosPerSecond;

struct Process {
  uint32_t incarnation = 0;
  pid_t pid = -1;
  ControlChannel channel;
  std::vector<Fd> memory;  // page, arena, wake; empty until it is announced
  bool linked = false;

  bool alive() const { return pid > 0; }
};

// One chain of incarnations, up to a quiet end.
class Life {
 public:
  Life(uint64_t seed, Planted planted, LinkTortureResult* result)
      : random_(seed),
        slots_(random_() % 2 == 0 ? kMinSlots : kSlots),
        planted_(planted),
        result_(result) {}
  Life(const Life&) = delete;
  ~Life() {
    for (Process& process : ends_) {
      if (process.alive()) Kill(&process);
    }
    for (Journal* journal : journals_) Journal::Destroy(journal);
  }

  void Run(int rounds) {
    for (bool owner : {true, false}) Start(owner);
    for (int round = 0; round < rounds && Healthy(); ++round) Round();
    if (Healthy()) Finish();
    Judge();
  }

 private:
  bool Healthy() const { return result_->violations.empty(); }
  void Violation(const std::string& what) { result_->violations.push_back(what); }
  Process& end(bool owner) { return ends_[owner ? 0 : 1]; }
  bool Linked() const { return ends_[0].linked && ends_[1].linked; }

  void Start(bool owner) {
    auto [ours, theirs] = Must(ControlChannel::MakePair());
    const TortureSetup setup = {++incarnation_, owner, slots_, random_(), planted_};
    journals_.push_back(Journal::Create());
    histories_.push_back(
        {.incarnation = setup.incarnation, .is_owner = owner, .killed_ns = 0, .events = {}});
    const pid_t pid = fork();
    MR_CHECK(pid >= 0, "fork");
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      ours.reset();
      for (Process& process : ends_) process = {};
      MakeTortureEnd(setup, ControlChannel(std::move(theirs)), journals_.back())->Run();
      _exit(0);
    }
    Process& process = end(owner);
    process = {};
    process.incarnation = setup.incarnation;
    process.pid = pid;
    process.channel = ControlChannel(std::move(ours));
  }

  void Round() {
    ++result_->rounds;
    // Now while they meet, now in the middle of their work.
    const uint64_t meeting = random_() % 3;
    if (meeting != 0) PumpUntil([this] { return Linked(); });
    PumpFor((random_() % (meeting == 0 ? 400 : 1500)) * kNanosPerMicro);
    if (!Healthy()) return;
    const bool first = random_() % 2 == 0;
    const bool both = random_() % 4 == 0;
    if (!Linked()) ++result_->unlinked;
    Kill(&end(first));
    if (both && random_() % 2 == 0) {
      // The other one dies a moment later, unaware of it or in the middle of ending the links.
      if (random_() % 2 == 0) Tell(first);
      PumpFor((random_() % 200) * kNanosPerMicro);
    } else if (!both) {
      Tell(first);
    }
    if (both) Kill(&end(!first));
    result_->both_killed += both;
    (first ? result_->owners_killed : result_->workers_killed) += 1;
    if (both) (first ? result_->workers_killed : result_->owners_killed) += 1;
    for (bool owner : {true, false}) {
      if (!end(owner).alive()) Start(owner);
    }
  }

  // The survivor is told of the other's death; what it knew of it is let go.
  void Tell(bool dead) {
    ToProcess message;
    message.mutable_peer_gone()->set_incarnation(end(dead).incarnation);
    Send(&end(!dead), message, {});
    end(!dead).linked = false;
  }

  void Kill(Process* process) {
    const int64_t now_ns = MonotonicNanos();
    histories_[process->incarnation - 1].killed_ns = now_ns;
    kill(process->pid, SIGKILL);
    int status = 0;
    waitpid(process->pid, &status, 0);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) Violation("an end ended by itself");
    process->pid = -1;
    process->linked = false;
  }

  void Send(Process* to, const ToProcess& message, const std::vector<int>& fds) {
    if (absl::Status s = to->channel.Send(message, fds); !s.ok()) Violation(s.ToString());
  }

  void Introduce() {
    for (bool owner : {true, false}) {
      ToProcess message;
      message.mutable_peer()->mutable_name()->set_incarnation(end(!owner).incarnation);
      std::vector<int> fds;
      for (const Fd& fd : end(!owner).memory) fds.push_back(fd.get());
      Send(&end(owner), message, fds);
    }
  }

  void Handle(bool owner, const FromProcess& message, std::vector<Fd> fds) {
    Process& from = end(owner);
    Process& other = end(!owner);
    if (message.has_announce()) {
      from.memory = std::move(fds);
      if (!other.memory.empty() && other.alive()) Introduce();
    } else if (message.has_half()) {
      const Half& half = message.half();
      const uint32_t to = half.producer() == from.incarnation ? half.consumer() : half.producer();
      if (!other.alive() || other.incarnation != to) return;
      ToProcess forward;
      forward.mutable_peer_half()->set_producer(half.producer());
      forward.mutable_peer_half()->set_consumer(half.consumer());
      Send(&other, forward, {fds.at(0).get()});
    } else if (message.has_link_up()) {
      // It may tell of a link to one that has died since.
      from.linked = message.link_up().consumer() == other.incarnation && other.alive();
    } else if (message.has_fault()) {
      Violation(absl::StrCat("a fault was reported: ", message.fault().reason()));
    }
  }

  bool Pump(int64_t until_ns) {
    const int64_t left_ns = std::max<int64_t>(0, until_ns - MonotonicNanos());
    pollfd waits[2];
    for (int i = 0; i < 2; ++i)
      waits[i] = {ends_[i].alive() ? ends_[i].channel.fd() : -1, POLLIN, 0};
    const timespec left = {left_ns / kNanosPerSecond, left_ns % kNanosPerSecond};
    if (ppoll(waits, 2, &left, nullptr) <= 0) return false;
    for (int i = 0; i < 2; ++i) {
      if (waits[i].revents == 0) continue;
      FromProcess message;
      std::vector<Fd> fds;
      const absl::StatusOr<bool> got = ends_[i].channel.Receive(&message, &fds);
      if (!got.ok()) {
        gone_[i] = true;
        return false;
      }
      if (*got) Handle(i == 0, message, std::move(fds));
    }
    return true;
  }

  void PumpFor(int64_t ns) {
    const int64_t until_ns = MonotonicNanos() + ns;
    while (Healthy() && MonotonicNanos() < until_ns && !gone_[0] && !gone_[1]) Pump(until_ns);
    if (gone_[0] || gone_[1]) Violation("an end ended by itself");
  }

  template <typename Condition>
  void PumpUntil(Condition condition) {
    const int64_t until_ns = MonotonicNanos() + kPatienceNs;
    while (Healthy() && !condition()) {
      if (!Pump(until_ns) && !condition()) {
        return Violation(gone_[0] || gone_[1] ? "an end ended by itself" : "both stand still");
      }
    }
  }

  // The owner answers what is open, then the worker sees it leave.
  void Finish() {
    PumpUntil([this] { return Linked(); });
    for (bool owner : {true, false}) {
      if (!Healthy()) return;
      ToProcess drain;
      drain.mutable_drain();
      Send(&end(owner), drain, {});
      PumpUntil([&] { return gone_[owner ? 0 : 1]; });
      int status = 0;
      waitpid(end(owner).pid, &status, 0);
      end(owner).pid = -1;
      gone_[owner ? 0 : 1] = false;
      if (status != 0) Violation("an end did not finish in order");
      if (owner && Healthy()) Tell(true);
    }
  }

  void Judge() {
    for (Process& process : ends_) {
      if (process.alive()) Kill(&process);
    }
    for (size_t i = 0; i < histories_.size(); ++i) {
      histories_[i].events = journals_[i]->events();
      for (const Event& e : histories_[i].events) Count(histories_[i], e);
    }
    for (std::string& sentence : CheckHistories(histories_)) Violation(sentence);
  }

  void Count(const History& history, const Event& e) {
    result_->opened += e.what == What::kOpen;
    result_->done += e.what == What::kDone;
    result_->sent_again += history.is_owner && e.what == What::kOffer && e.attempt > 0;
    result_->taken_back += e.what == What::kTakenBack;
    result_->slept += e.what == What::kSlept;
    result_->rescues += e.what == What::kRescue;
  }

  std::mt19937_64 random_;
  const uint64_t slots_;
  const Planted planted_;
  LinkTortureResult* const result_;
  uint32_t incarnation_ = 0;
  Process ends_[2];  // owner, worker
  bool gone_[2] = {false, false};
  std::vector<Journal*> journals_;  // by incarnation
  std::vector<History> histories_;
};

}  // namespace

LinkTortureResult RunLinkTorture(int rounds, uint64_t seed, Planted planted) {
  LinkTortureResult result;
  for (uint64_t life = 0; result.rounds < rounds && result.violations.empty(); ++life) {
    Life(seed * 1'000'003 + life, planted, &result)
        .Run(std::min(kRoundsPerLife, rounds - result.rounds));
  }
  return result;
}

}  // namespace millrace
