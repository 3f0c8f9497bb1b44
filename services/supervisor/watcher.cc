#include "services/supervisor/watcher.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "common/clock.h"

namespace millrace {
namespace {

constexpr int64_t kRecheckNs = 100 * kNanosPerMilli;
constexpr timespec kPause = {0, 1'000'000};  // after a wake-up that was no death

bool PageSaysDead(const Page* page) {
  // acquire: meets the release stores of SayDying in services/runtime/liveness.cc.
  const uint32_t state = page->state.load(std::memory_order_acquire);
  // acquire: as above.
  return SaysDead(page->liveness.load(std::memory_order_acquire), state);
}

uint32_t* Word(const Page* page) {
  return reinterpret_cast<uint32_t*>(const_cast<std::atomic<uint32_t>*>(&page->liveness));
}

}  // namespace

bool SaysDead(uint32_t liveness, uint32_t state) {
  return (liveness & FUTEX_OWNER_DIED) != 0 || (liveness & FUTEX_TID_MASK) == 0 ||
         state == static_cast<uint32_t>(LaneState::kDying);
}

absl::StatusOr<std::unique_ptr<DeathBoard>> DeathBoard::Create() {
  auto board = std::make_unique<DeathBoard>();
  board->eventfd_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!board->eventfd_.valid()) {
    return absl::ResourceExhaustedError(absl::StrCat("eventfd: ", strerror(errno)));
  }
  return board;
}

void DeathBoard::Post(const DeathSeen& seen) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    seen_.push_back(seen);
  }
  eventfd_write(eventfd_.get(), 1);
}

std::vector<DeathSeen> DeathBoard::Take() {
  eventfd_t ignored;
  eventfd_read(eventfd_.get(), &ignored);
  std::lock_guard<std::mutex> lock(mutex_);
  return std::move(seen_);
}

Watcher::Watcher(DeathBoard* board, uint32_t key, const Page* page)
    : board_(board), key_(key), page_(page), thread_([this] { Run(); }) {}

Watcher::~Watcher() {
  // relaxed: the wake-up below, or the recheck, brings the thread to look at it.
  stop_.store(true, std::memory_order_relaxed);
  syscall(SYS_futex, Word(page_), FUTEX_WAKE, 1, nullptr, nullptr, 0);
  thread_.join();
}

void Watcher::Run() {
  // relaxed: the destructor asks for an end and hands nothing over.
  while (!stop_.load(std::memory_order_relaxed)) {
    // acquire: meets the release of SayDying in services/runtime/liveness.cc. The word must be
    // older than the look at the page, or its last change could be slept over: FUTEX_WAIT returns
    // at once where the word is not this one any more.
    const uint32_t word = page_->liveness.load(std::memory_order_acquire);
    if (PageSaysDead(page_)) {
      board_->Post({key_, MonotonicNanos()});
      return;
    }
    const timespec limit = {kRecheckNs / kNanosPerSecond, kRecheckNs % kNanosPerSecond};
    const bool timed_out =
        syscall(SYS_futex, Word(page_), FUTEX_WAIT, word, &limit, nullptr, 0) != 0 &&
        errno == ETIMEDOUT;
    if (!timed_out && !PageSaysDead(page_)) nanosleep(&kPause, nullptr);
  }
}

}  // namespace millrace
