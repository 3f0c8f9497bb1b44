#include "ipc/testing/link_torture.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <random>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "ipc/arena.h"
#include "ipc/control.pb.h"
#include "ipc/control_channel.h"
#include "ipc/link.h"
#include "ipc/testing/must.h"

namespace millrace {
namespace {

constexpr uint32_t kProducer = 1;
constexpr uint32_t kConsumer = 2;
constexpr uint64_t kMostEntries = 1 << 14;
constexpr size_t kMostBytes = 600;

// Outlives the two; all words are atomic with sequential consistency, it is no part of the test's
// speed.
struct Journal {
  std::atomic<bool> ready[2];
  std::atomic<bool> peer_gone;
  std::atomic<uint64_t> about;      // entries the producer began to publish
  std::atomic<uint64_t> published;  // of these, Submit has returned
  std::atomic<uint64_t> drained;    // by a consumer that survived
  std::atomic<bool> whole[2];       // the survivor found everything in order
  std::atomic<const char*> wrong;
  std::atomic<uint8_t> taken[kMostEntries];
};

void Require(Journal* journal, bool holds, const char* rule) {
  if (!holds) journal->wrong = rule;
}

size_t LengthOf(uint64_t n) { return 1 + n * 7919 % kMostBytes; }
std::byte ByteOf(uint64_t n, size_t i) { return static_cast<std::byte>(n * 31 + i * 7 + 1); }

void SendFds(ControlChannel* channel, std::vector<int> fds) {
  FromProcess message;
  message.mutable_half();
  MustOk(channel->Send(message, fds));
}

// Nothing where the other end was killed meanwhile.
std::vector<Fd> ReceiveFds(ControlChannel* channel) {
  FromProcess message;
  std::vector<Fd> fds;
  while (true) {
    absl::StatusOr<bool> got = channel->Receive(&message, &fds);
    if (absl::IsUnavailable(got.status())) return {};
    if (Must(std::move(got))) return fds;
    pollfd p = {channel->fd(), POLLIN, 0};
    poll(&p, 1, -1);
  }
}

void Produce(Journal* journal, ControlChannel channel) {
  LinkProducer link = Must(LinkProducer::Create(kProducer, kConsumer));
  Arena arena = Must(Arena::Create(kProducer, {{{256, 40}, {1024, 60}}}));
  SendFds(&channel, {link.fd(), arena.region().fd().get()});
  const std::vector<Fd> theirs = ReceiveFds(&channel);
  if (theirs.empty()) return;
  MustOk(link.Attach(theirs.at(0).get()));
  journal->ready[0] = true;
  std::vector<uint32_t> back;
  for (uint64_t n = 0; !journal->peer_gone;) {
    back.clear();
    Require(journal, link.CollectReturns(&back) != LinkResult::kFault,
            "an honest consumer faulted");
    for (uint32_t offset : back) arena.Release(offset);
    if (n == kMostEntries || !link.CanSubmit()) continue;
    std::optional<BlockRef> block = arena.Allocate(LengthOf(n));
    if (!block.has_value()) continue;
    for (size_t i = 0; i < block->length; ++i) arena.At(block->offset)[i] = ByteOf(n, i);
    Message message;
    message.id = n;
    message.block = *block;
    journal->about = n + 1;
    link.Submit(message);
    journal->published = ++n;
  }
  back.clear();
  Require(journal, link.CollectReturns(&back) != LinkResult::kFault, "the dead left a fault");
  for (uint32_t offset : back) arena.Release(offset);
  for (uint32_t offset : link.TakeBackAll()) arena.Release(offset);
  journal->whole[0] = arena.taken() == 0;
}

bool CheckEntry(const ArenaView& arena, const Message& message, uint64_t expected) {
  const auto bytes = arena.Get(message.block);
  if (message.id != expected || !bytes || bytes->size() != LengthOf(expected)) return false;
  for (size_t i = 0; i < bytes->size(); ++i) {
    if ((*bytes)[i] != ByteOf(expected, i)) return false;
  }
  return true;
}

void Consume(Journal* journal, ControlChannel channel, uint64_t seed) {
  std::mt19937_64 random(seed);
  LinkConsumer link = Must(LinkConsumer::Create(kProducer, kConsumer));
  SendFds(&channel, {link.fd()});
  const std::vector<Fd> theirs = ReceiveFds(&channel);
  if (theirs.empty()) return;
  MustOk(link.Attach(theirs.at(0).get()));
  const ArenaView arena = Must(ArenaView::Open(theirs.at(1).get(), kProducer));
  journal->ready[1] = true;
  std::vector<uint32_t> held;
  uint64_t next = 0;
  bool gone = false;
  while (true) {
    Message message;
    const LinkResult result = link.Take(&message);
    Require(journal, result != LinkResult::kFault, "an honest producer faulted");
    if (result == LinkResult::kOk) {
      Require(journal, CheckEntry(arena, message, next), "an entry is not whole or out of order");
      journal->taken[next++]++;
      held.push_back(message.block.offset);
    } else if (gone) {
      break;  // drained: nothing comes behind what was there when the producer was dead
    } else {
      gone = journal->peer_gone;
    }
    if (held.size() > random() % 16) {
      std::swap(held[random() % held.size()], held.back());
      link.Return(held.back());
      held.pop_back();
    }
    if (random() % 4 == 0 || result == LinkResult::kEmpty) link.PublishCredits();
  }
  journal->drained = next;
  journal->whole[1] = true;
}

class Round {
 public:
  Round(Journal* journal, uint64_t seed, LinkTortureResult* result)
      : journal_(journal), random_(seed), result_(result) {
    new (journal) Journal();
  }

  void Run() {
    ControlChannel ends[2];
    for (int i = 0; i < 2; ++i) {
      auto [ours, theirs] = Must(ControlChannel::MakePair());
      pids_[i] = fork();
      MR_CHECK(pids_[i] >= 0, "fork");
      if (pids_[i] == 0) {
        ours.reset();
        ends[0] = ControlChannel();  // or the first child would outlive the parent's hang-up
        if (i == 0) Produce(journal_, ControlChannel(std::move(theirs)));
        if (i == 1) Consume(journal_, ControlChannel(std::move(theirs)), random_());
        _exit(0);
      }
      ends[i] = ControlChannel(std::move(ours));
    }
    for (int i = 0; i < 2; ++i) Relay(&ends[i], &ends[1 - i]);
    while (!journal_->ready[0] || !journal_->ready[1]) usleep(50);
    usleep(random_() % 1500);
    const int first = random_() % 2, other = 1 - first;
    Kill(first);
    if (random_() % 3 == 0) {
      usleep(random_() % 100);
      Kill(other);
    } else {
      journal_->peer_gone = true;
      int status;
      waitpid(pids_[other], &status, 0);
      if (!journal_->whole[other] || status != 0) Violation("the survivor did not end in order");
      ++(other == 0 ? result_->surviving_producers : result_->surviving_consumers);
    }
    Check(first);
  }

 private:
  void Relay(ControlChannel* from, ControlChannel* to) {
    const std::vector<Fd> fds = ReceiveFds(from);
    std::vector<int> numbers;
    for (const Fd& fd : fds) numbers.push_back(fd.get());
    SendFds(to, numbers);
  }

  void Kill(int who) {
    kill(pids_[who], SIGKILL);
    waitpid(pids_[who], nullptr, 0);
    ++result_->kills;
  }

  void Violation(const std::string& what) { result_->violations.push_back(what); }

  void Check(int first_killed) {
    if (const char* wrong = journal_->wrong) Violation(wrong);
    const uint64_t about = journal_->about;
    uint64_t taken = 0;
    for (uint64_t n = 0; n < kMostEntries; ++n) {
      if (journal_->taken[n] > 1) Violation("an entry was taken twice");
      if (journal_->taken[n] > 0 && n >= about) Violation("an entry came from nowhere");
      if (journal_->taken[n] > 0 && n != taken) Violation("an entry was left out");
      taken += journal_->taken[n] > 0;
    }
    result_->taken += taken;
    const bool consumer_survived = first_killed == 0 && journal_->whole[1];
    if (consumer_survived && journal_->drained < journal_->published) {
      Violation(absl::StrCat("published and lost: ",
                             journal_->published.load() - journal_->drained.load()));
    }
  }

  Journal* journal_;
  std::mt19937_64 random_;
  LinkTortureResult* result_;
  pid_t pids_[2] = {-1, -1};
};

}  // namespace

LinkTortureResult RunLinkTorture(int rounds, uint64_t seed) {
  void* map =
      mmap(nullptr, sizeof(Journal), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  MR_CHECK(map != MAP_FAILED, "mmap");
  LinkTortureResult result;
  for (int round = 0; round < rounds && result.violations.empty(); ++round) {
    Round(static_cast<Journal*>(map), seed * 1'000'003 + round, &result).Run();
  }
  munmap(map, sizeof(Journal));
  return result;
}

}  // namespace millrace
