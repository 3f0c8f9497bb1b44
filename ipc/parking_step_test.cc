// A sleeper, or whoever should wake it, killed at every instruction; and the two beside each other.
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "ipc/link.h"
#include "ipc/page.h"
#include "ipc/testing/must.h"
#include "ipc/testing/single_step.h"
#include "ipc/waiter.h"

namespace millrace {
namespace {

constexpr uint32_t kProducer = 1, kConsumer = 2;

Fd MakeEvent() { return Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

bool IsSet(const Fd& event) {
  pollfd p = {event.get(), POLLIN, 0};
  return poll(&p, 1, 0) > 0;
}

// How many writes an eventfd has had since the last look.
uint64_t Writes(const Fd& event) {
  eventfd_t count = 0;
  return eventfd_read(event.get(), &count) == 0 ? count : 0;
}

void Tell(const char* name, uint64_t points) {
  printf("%s: %zu crash points\n", name, size_t{points});
  ::testing::Test::RecordProperty("crash_points", static_cast<int>(points));
}

// Planted: a flag, so that the second sleep looks like the first.
struct FlagWord {
  explicit FlagWord(std::atomic<uint64_t>* parked) : parked(parked) {}
  void Arm() { *parked = 1; }
  void Disarm() { *parked = 0; }
  std::atomic<uint64_t>* parked;
};

// Steps a sleeper through some sleeps. After each instruction: what a producer that woke none of
// its sleeps, or the one of before, makes of it. Returns the broken rule, if any.
template <typename Word>
std::string StepSleeper(uint64_t* points) {
  SteppedProcess sleeper([](Markers* markers) {
    const Region page = Must(Region::Create(kPageType, kConsumer, sizeof(Page)));
    markers->Show(page.fd().get());
    Word word(&page.as<Page>()->parked);
    markers->Begin();
    for (int i = 0; i < 4; ++i) {
      word.Arm();
      word.Disarm();
    }
    markers->End();
  });
  EXPECT_EQ(sleeper.Run(), Stop::kBegin);
  const Region page =
      Must(Region::Open(sleeper.Shown(0).get(), kPageType, kConsumer, sizeof(Page)));
  std::string broken;
  std::atomic<uint64_t> parked{0};
  WakeGate<Hardware> gate(&parked);  // of a producer that lives through all of it
  uint64_t sleeps = 0, woken = 0;
  *points = sleeper.Step([&] {
    // relaxed: its writer stands.
    const uint64_t now = page.as<const Page>()->parked.load(std::memory_order_relaxed);
    if ((now & 1) != 0 && (parked & 1) == 0) ++sleeps;
    if (now < parked) broken = "parked goes back";
    parked = now;
    // If it died here: one write at most, whatever is published afterwards.
    WakeGate<Hardware> survivor = gate;
    int writes = 0;
    for (int i = 0; i < 20; ++i) writes += survivor.ShouldWake();
    if (writes > 1) broken = "a dead sleeper is woken more than once";
    woken += gate.ShouldWake();
    if (woken != sleeps) broken = "a sleep was not woken, or twice";
  });
  EXPECT_EQ(sleeper.stop(), Stop::kEnd);
  EXPECT_EQ(sleeps, 4u);
  return broken;
}

TEST(ParkingStepTest, ASleeperThatDiesIsWokenOnceAtMost) {
  uint64_t points = 0;
  EXPECT_EQ(StepSleeper<ParkWord<Hardware>>(&points), "");
  EXPECT_GT(points, 20u);
  Tell("park, unpark", points);
}

TEST(ParkingStepFaultTest, AFlagInPlaceOfACount) {
  uint64_t points = 0;
  EXPECT_NE(StepSleeper<FlagWord>(&points), "");
}

// A real sleeper killed in earnest: who publishes to it goes on, with one write at most.
TEST(ParkingStepTest, NobodyBlocksOnADeadSleeper) {
  for (uint64_t at = 0; at < 120; at += 6) {
    const Fd event = MakeEvent();
    LinkProducer link = Must(LinkProducer::Create(kProducer, kConsumer));
    SteppedProcess sleeper([&](Markers* markers) {
      const Region page = Must(Region::Create(kPageType, kConsumer, sizeof(Page)));
      LinkConsumer in = Must(LinkConsumer::Create(kProducer, kConsumer));
      MustOk(in.Attach(link.fd()));
      markers->Show(page.fd().get());
      markers->Show(in.fd());
      Waiter waiter(&page.as<Page>()->parked, event.Duplicate());
      markers->Begin();
      waiter.Arm();
      if (!in.HasNext()) waiter.Sleep(0);
      waiter.Unpark();
      markers->End();
      markers->Meet();
    });
    ASSERT_EQ(sleeper.Run(), Stop::kBegin);
    const Region page =
        Must(Region::Open(sleeper.Shown(0).get(), kPageType, kConsumer, sizeof(Page)));
    MustOk(link.Attach(sleeper.Shown(1).get()));
    sleeper.Step([] {}, at);
    sleeper.Kill();
    Waker waker(&page.as<const Page>()->parked, event.Duplicate());
    while (link.CanSubmit()) {
      link.Submit(Message());
      waker.Wake();
    }
    EXPECT_LE(Writes(event), 1u);
  }
}

// What a waker's course has told so far.
struct Course {
  std::atomic<uint64_t> published, woke;
};

struct WakerReport {
  uint64_t points = 0;
  uint64_t window = 0;  // points at which the message is there and nobody is woken
  uint64_t last_of_window = 0;
  std::string broken;
};

// A producer that publishes to a sleeper and wakes it, up to its step `at_most`, where it dies.
class DyingWaker {
 public:
  explicit DyingWaker(bool wake_first) {
    waiter_.Arm();
    process_ = std::make_unique<SteppedProcess>([this, wake_first](Markers* markers) {
      LinkProducer link = Must(LinkProducer::Create(kProducer, kConsumer));
      MustOk(link.Attach(in_.fd()));
      markers->Show(link.fd());
      const Region page = Must(Region::Open(page_.fd().get(), kPageType, kConsumer, sizeof(Page)));
      Waker waker(&page.as<const Page>()->parked, event_.Duplicate());
      markers->Begin();
      if (wake_first) waker.Wake();
      link.Submit(Message());
      course_->published = 1;
      waker.Wake();
      course_->woke = 1;
      markers->End();
    });
    MR_CHECK(process_->Run() == Stop::kBegin, "the waker did not begin");
    MustOk(in_.Attach(process_->Shown(0).get()));
  }

  WakerReport Step(uint64_t at_most) {
    WakerReport report;
    report.points = process_->Step(
        [&, at = uint64_t{0}]() mutable {
          const bool there = in_.HasNext(), woken = IsSet(event_);
          if (woken && !there) report.broken = "woken, and nothing is there";
          if (course_->published == 1 && !there) report.broken = "published and not there";
          if (course_->woke == 1 && !woken) report.broken = "waked, and the sleeper sleeps";
          if (there && !woken) {
            ++report.window;
            report.last_of_window = at;
          }
          ++at;
        },
        at_most);
    return report;
  }
  void Kill() { process_->Kill(); }

  // As a lane sleeps: until it is woken or the time is up; then it looks.
  bool SleepsOnAndFinds() {
    const bool woken = waiter_.Sleep(Waiter::kMaxSleepMs);
    waiter_.Unpark();
    Message message;
    return !woken && in_.Take(&message) == LinkResult::kOk;
  }

 private:
  Region page_ = Must(Region::Create(kPageType, kConsumer, sizeof(Page)));
  Fd event_ = MakeEvent();
  Waiter waiter_{&page_.as<Page>()->parked, event_.Duplicate()};
  LinkConsumer in_ = Must(LinkConsumer::Create(kProducer, kConsumer));
  SharedBox<Course> course_;
  std::unique_ptr<SteppedProcess> process_;
};

TEST(ParkingStepTest, AWakerThatDiesBeforeItWakes) {
  DyingWaker whole(/*wake_first=*/false);
  const WakerReport report = whole.Step(SteppedProcess::kMostSteps);
  EXPECT_EQ(report.broken, "");
  // Here the bound of a sleep is what finds the message.
  EXPECT_GT(report.window, 0u);
  Tell("publish, wake", report.points);
  printf("publish, wake: published and not woken at %zu of them\n", size_t{report.window});
  DyingWaker dead(/*wake_first=*/false);
  EXPECT_EQ(dead.Step(report.last_of_window).broken, "");
  dead.Kill();
  EXPECT_TRUE(dead.SleepsOnAndFinds());
}

TEST(ParkingStepFaultTest, AWakeBeforeThePublication) {
  DyingWaker faulty(/*wake_first=*/true);
  EXPECT_EQ(faulty.Step(SteppedProcess::kMostSteps).broken, "woken, and nothing is there");
}

// The sleeper is stepped; at one of its instructions the producer publishes and wakes. Returns how
// often it went to sleep beside a message without being woken.
struct Slept {
  std::atomic<bool> sleeps;
};

uint64_t LostWakeUps(bool look_first) {
  const SharedBox<Slept> slept;
  const SharedBox<std::atomic<uint64_t>> parked, message;
  WakeGate<Hardware> gate;
  bool woke = false;
  uint64_t lost = 0, slept_and_woken = 0;
  InterruptAtEach(
      [&](Markers* markers) {
        ParkWord<Hardware> word(parked.get());
        markers->Begin();
        bool there = look_first && *message.get() != 0;
        word.Arm();
        if (!look_first) there = *message.get() != 0;
        slept->sleeps = !there;
        markers->End();
      },
      [&] {
        *parked.get() = *message.get() = 0;
        slept->sleeps = woke = false;
        gate = WakeGate<Hardware>(parked.get());
      },
      [&] {
        *message.get() = 1;
        woke = gate.ShouldWake();
      },
      [&](uint64_t) {
        lost += slept->sleeps && !woke;
        slept_and_woken += slept->sleeps && woke;
      },
      400);
  EXPECT_GT(slept_and_woken, 0u);
  return lost;
}

TEST(ParkingStepTest, NoSleepBesideAMessage) { EXPECT_EQ(LostWakeUps(/*look_first=*/false), 0u); }

TEST(ParkingStepFaultTest, ALookBeforeTheWord) { EXPECT_GT(LostWakeUps(/*look_first=*/true), 0u); }

}  // namespace
}  // namespace millrace
