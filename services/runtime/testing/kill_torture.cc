#include "services/runtime/testing/kill_torture.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "services/runtime/testing/remote_worker.h"

namespace millrace {
namespace {

constexpr char kProgram[] = "services/runtime/testing/echo_worker";
constexpr char kYaml[] = "ingress:\n  max_request_bytes: 1024\n";
constexpr size_t kOutstanding = 48;
constexpr int kWorkers = 2;
constexpr size_t kRememberedViolations = 10;

class Torture {
 public:
  explicit Torture(uint64_t seed) : random_(seed) {
    handler_.on_message = [this](Inbound& from, const Message& message) {
      OnAnswer(from, message);
    };
    for (auto& worker : workers_) Start(&worker);
  }

  void Run(int kills) {
    while (result_.kills < kills) {
      for (int turns = random_() % 200; turns > 0; --turns) Turn();
      KillOne();
    }
    Finish();
  }

  const KillTortureResult& result() const { return result_; }

 private:
  struct Request {
    PartId id;
    std::string text;
    BlockRef input;
    uint32_t worker = 0;  // 0: waits for one
  };

  void Violation(const std::string& what) {
    if (result_.violations.size() < kRememberedViolations) result_.violations.push_back(what);
  }

  void Start(std::unique_ptr<RemoteWorker>* worker) {
    *worker = std::make_unique<RemoteWorker>(&rig_, Stage::kExecution, kProgram);
    (*worker)->Configure(kYaml);
    (*worker)->LinkWith(&ingress_);
  }

  void Turn() {
    while (requests_.size() < kOutstanding) Open();
    for (auto& [slot, request] : requests_) {
      if (request.worker == 0) Send(&request);
    }
    ingress_.lane.Flush();
    ingress_.lane.Poll();
    if (random_() % 4 == 0) usleep(random_() % 50);
  }

  void Open() {
    Request request;
    request.id = {next_slot_, ++sequence_, 0, 0};
    next_slot_ = (next_slot_ + 1) % 1024;
    request.text.resize(1 + random_() % 1000);
    for (char& c : request.text) c = static_cast<char>(random_());
    request.input = ingress_.Write(request.text);
    requests_.emplace(request.id.slot, std::move(request));
  }

  void Send(Request* request) {
    RemoteWorker& worker = *workers_[random_() % kWorkers];
    if (!ingress_.lane.CanSend(worker.incarnation())) return;
    ingress_.ledger->Open(request->id, LedgerEntry{});
    Message message;
    message.id = request->id.Pack();
    message.origin = ingress_.incarnation();
    message.deadline_ns = INT64_MAX;
    message.block = request->input;
    if (ingress_.lane.Send(worker.incarnation(), message)) request->worker = worker.incarnation();
  }

  void OnAnswer(Inbound& from, const Message& message) {
    const PartId id = PartId::Unpack(message.id);
    auto found = requests_.find(id.slot);
    const auto bytes = from.peer->Payload(message);
    if (!taken_.insert({from.peer->id.incarnation, message.id}).second) {
      Violation("one entry was taken twice from one link");
    }
    if (found == requests_.end() || found->second.id != id ||
        found->second.worker != from.peer->id.incarnation) {
      ++result_.stale;
      // An id that was never given up must be found.
      if (given_up_.count(message.id) == 0) Violation("an answer to what was not asked");
    } else {
      const std::string& text = found->second.text;
      if (!bytes.has_value() || bytes->size() != text.size() ||
          !std::equal(text.rbegin(), text.rend(), reinterpret_cast<const char*>(bytes->data()))) {
        Violation("an answer's bytes are wrong");
      }
      ingress_.ledger->Close(id.slot);
      ingress_.lane.Release(found->second.input);
      requests_.erase(found);
      ++result_.answered;
    }
    ingress_.lane.Return(from, message);
  }

  void KillOne() {
    std::unique_ptr<RemoteWorker>& worker = workers_[random_() % kWorkers];
    const int signals[] = {SIGKILL, SIGKILL, SIGKILL, SIGSEGV};
    worker->Signal(signals[random_() % 4]);
    ++result_.kills;
    const int64_t until = MonotonicNanos() + RemoteWorker::kPatienceMs * kNanosPerMilli;
    while (!worker->Dead()) {
      ingress_.lane.Poll();
      if (MonotonicNanos() > until) return Violation("a death was not told by the futex");
    }
    const uint32_t dead = worker->incarnation();
    const size_t lost_before = handler_.lost.size();
    rig_.Leave(dead);
    ingress_.lane.Poll();
    if (handler_.lost.size() != lost_before + 1 || handler_.lost.back() != dead) {
      Violation("the death was not told once");
    }
    worker->Reap();
    Replay(dead);
    if (random_() % 2 == 0) Turn();  // the other one goes on alone
    Start(&worker);
  }

  void Replay(uint32_t dead) {
    size_t open = 0;
    for (auto& [slot, request] : requests_) {
      if (request.worker == dead) {
        given_up_.insert(request.id.Pack());
        ++request.id.attempt;
        request.worker = 0;
        ++result_.replayed;
      }
      open += request.worker == 0;
    }
    // Of what nobody works on, only the inputs are taken.
    if (open == requests_.size() && ingress_.lane.arena().taken() != requests_.size()) {
      Violation("blocks lent to the dead did not come back");
    }
  }

  void Finish() {
    const int64_t until = MonotonicNanos() + RemoteWorker::kPatienceMs * kNanosPerMilli;
    while (!Quiet()) {
      if (MonotonicNanos() > until) return Violation("requests or blocks are left over");
      for (auto& [slot, request] : requests_) {
        if (request.worker == 0) Send(&request);
      }
      ingress_.lane.Flush();
      ingress_.lane.Poll();
    }
    if (result_.answered != sequence_) Violation("not each request was answered once");
    if (!ingress_.faults.empty()) {
      Violation(absl::StrCat("a fault was reported: ", ingress_.faults[0].second));
    }
  }

  bool Quiet() const {
    if (!requests_.empty() || ingress_.lane.memory().arena.taken() != 0) return false;
    return std::all_of(std::begin(workers_), std::end(workers_), [](const auto& worker) {
      return worker->page().Get(Counter::kBlocksTaken) == 0;
    });
  }

  std::mt19937_64 random_;
  LaneRig rig_;
  TestLane& ingress_ = rig_.Add(Stage::kIngress);
  Recorder handler_{&ingress_.lane};
  std::unique_ptr<RemoteWorker> workers_[kWorkers];
  std::map<uint16_t, Request> requests_;
  std::set<std::pair<uint32_t, uint64_t>> taken_;  // incarnation and id of every answer taken
  std::set<uint64_t> given_up_;
  uint16_t next_slot_ = 0;
  uint32_t sequence_ = 0;
  KillTortureResult result_;
};

int OpenDescriptors() {
  int count = 0;
  for (int fd = 0; fd < 4096; ++fd) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

}  // namespace

KillTortureResult RunKillTorture(int kills, uint64_t seed) {
  const int before = OpenDescriptors();
  KillTortureResult result;
  {
    Torture torture(seed);
    torture.Run(kills);
    result = torture.result();
  }
  if (OpenDescriptors() != before) result.violations.push_back("descriptors are left open");
  return result;
}

}  // namespace millrace
