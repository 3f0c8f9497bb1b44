// The next incarnation of an end, killed at every instruction of its making, beside a survivor that
// still ends the link to the one before.
#include <fcntl.h>
#include <stdio.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "ipc/link.h"
#include "ipc/testing/must.h"
#include "ipc/testing/single_step.h"

namespace millrace {
namespace {

constexpr uint32_t kOld = 1, kNew = 2, kSurvivor = 10, kAnother = 11;
constexpr uint64_t kBefore = 3;  // messages of the old incarnation
constexpr uint64_t kSlotCount = kMinSlots;

struct Progress {
  std::atomic<int> next_fd;  // the number that the child's next descriptor gets
  std::atomic<bool> made;    // Create has returned: the half may be handed on
  std::atomic<bool> begun, published;
  std::atomic<bool> refused;  // the half of the old incarnation's link
};

std::string BytesOf(int fd, RegionType type, uint32_t incarnation) {
  const Region region = Must(Region::Open(fd, type, incarnation, sizeof(RegionHeader)));
  return std::string(reinterpret_cast<const char*>(region.bytes()), region.size());
}

bool Refused(const absl::Status& status) { return absl::IsFailedPrecondition(status); }

int NextFd() {
  const Fd probe(open("/dev/null", O_RDONLY | O_CLOEXEC));
  return probe.get();
}

struct Report {
  uint64_t points = 0;
  uint64_t refused = 0;   // points at which something was there and was refused
  uint64_t accepted = 0;  // points at which it was accepted
  std::string broken;
  void Rule(bool holds, const char* sentence) {
    if (!holds && broken.empty()) broken = sentence;
  }
  void Tell(const char* name) const {
    printf("adopt, %s: %zu crash points, refused at %zu, accepted at %zu\n", name, size_t{points},
           size_t{refused}, size_t{accepted});
    ::testing::Test::RecordProperty("crash_points", static_cast<int>(points));
  }
};

// The survivor's ends of the old link and the new one, and another's of a link to the next
// incarnation.
template <typename End>
struct Ends {
  End old_link;
  End new_link;
  End others_link;

  // The half whose descriptor the child may have by now.
  bool Offer(const Fd& fd, const Progress& progress, Report* report) {
    if (!fd.valid()) {
      report->Rule(!progress.made, "a half that was made is not there");
      return false;
    }
    report->Rule(Refused(old_link.Attach(fd.get())), "the old link took the next incarnation");
    report->Rule(Refused(others_link.Attach(fd.get())), "a link to another took this half");
    const absl::Status status = new_link.Attach(fd.get());
    report->Rule(status.ok() || Refused(status), "a half was refused for no reason");
    report->Rule(status.ok() || !progress.made, "a half that was made was refused");
    ++(status.ok() ? report->accepted : report->refused);
    return status.ok();
  }
};

// `incarnation`: kNew, or kOld once more, which is the fault.
Report StepNextProducer(uint32_t incarnation) {
  Ends<LinkConsumer> ends = {Must(LinkConsumer::Create(kOld, kSurvivor, kSlotCount)),
                             Must(LinkConsumer::Create(kNew, kSurvivor, kSlotCount)),
                             Must(LinkConsumer::Create(kNew, kAnother, kSlotCount))};
  SteppedProcess dead([&](Markers* markers) {
    LinkProducer link = Must(LinkProducer::Create(kOld, kSurvivor, kSlotCount));
    MustOk(link.Attach(ends.old_link.fd()));
    for (uint64_t n = 0; n < kBefore; ++n) link.Submit(Message());
    markers->Show(link.fd());
    markers->Meet();
  });
  EXPECT_EQ(dead.Run(), Stop::kMeet);
  const Fd old_slots = dead.Shown(0);
  dead.Kill();
  MustOk(ends.old_link.Attach(old_slots.get()));
  const std::string old_bytes = BytesOf(old_slots.get(), kSlotsType, kOld);
  const std::string old_returns = BytesOf(ends.old_link.fd(), kReturnsType, kSurvivor);

  const SharedBox<Progress> progress;
  SteppedProcess next([&](Markers* markers) {
    progress->next_fd = NextFd();
    markers->Begin();
    LinkProducer link = Must(LinkProducer::Create(incarnation, kSurvivor, kSlotCount));
    progress->made = true;
    progress->refused = Refused(link.Attach(ends.old_link.fd()));
    MustOk(link.Attach(ends.new_link.fd()));
    progress->begun = true;
    link.Submit(Message());
    progress->published = true;
    markers->End();
  });
  EXPECT_EQ(next.Run(), Stop::kBegin);
  Report report;
  report.points = next.Step([&] {
    const bool there = ends.Offer(next.TakeFd(progress->next_fd), *progress.get(), &report);
    Message message;
    ConsumerEnd<Hardware> fresh = ends.new_link;
    const LinkResult got = there ? fresh.Take(&message) : LinkResult::kEmpty;
    report.Rule(got != LinkResult::kFault, "the next incarnation's first words are a fault");
    report.Rule(got == LinkResult::kEmpty || progress->begun, "a message that nobody sent");
    report.Rule(got == LinkResult::kOk || !progress->published, "a message was lost");
    // The link that ends is drained as it was left.
    ConsumerEnd<Hardware> old = ends.old_link;
    uint64_t drained = 0;
    while (old.Take(&message) == LinkResult::kOk) ++drained;
    report.Rule(drained == kBefore, "the old incarnation's messages are lost");
    report.Rule(BytesOf(old_slots.get(), kSlotsType, kOld) == old_bytes, "old slots were written");
    report.Rule(BytesOf(ends.old_link.fd(), kReturnsType, kSurvivor) == old_returns,
                "old returns were written");
  });
  report.Rule(next.stop() == Stop::kEnd, "the next incarnation died of itself");
  report.Rule(progress->refused, "the next incarnation took the old link's half");
  report.Rule(Refused(ends.new_link.Attach(old_slots.get())), "the new link took the old half");
  return report;
}

TEST(AdoptStepTest, TheNextProducer) {
  const Report report = StepNextProducer(kNew);
  EXPECT_EQ(report.broken, "");
  EXPECT_GT(report.refused, 10u);
  EXPECT_GT(report.accepted, 10u);
  report.Tell("producer");
}

TEST(AdoptStepFaultTest, AnIncarnationUsedTwice) {
  EXPECT_EQ(StepNextProducer(kOld).broken, "the old link took the next incarnation");
}

TEST(AdoptStepTest, TheNextConsumer) {
  Ends<LinkProducer> ends = {Must(LinkProducer::Create(kSurvivor, kOld, kSlotCount)),
                             Must(LinkProducer::Create(kSurvivor, kNew, kSlotCount)),
                             Must(LinkProducer::Create(kAnother, kNew, kSlotCount))};
  Message message;
  for (uint32_t n = 1; n <= kBefore; ++n) {
    message.block = {n * 256, 1};
    ends.old_link.Submit(message);
  }
  ends.new_link.Submit(message);
  SteppedProcess dead([&](Markers* markers) {
    LinkConsumer link = Must(LinkConsumer::Create(kSurvivor, kOld, kSlotCount));
    MustOk(link.Attach(ends.old_link.fd()));
    Message taken;
    MR_CHECK(link.Take(&taken) == LinkResult::kOk, "what is there cannot be taken");
    link.Return(taken.block.offset);
    markers->Show(link.fd());
    markers->Meet();
  });
  ASSERT_EQ(dead.Run(), Stop::kMeet);
  const Fd old_returns = dead.Shown(0);
  dead.Kill();
  MustOk(ends.old_link.Attach(old_returns.get()));
  const std::string old_bytes = BytesOf(old_returns.get(), kReturnsType, kOld);
  const std::string old_slots = BytesOf(ends.old_link.fd(), kSlotsType, kSurvivor);

  const SharedBox<Progress> progress;
  SteppedProcess next([&](Markers* markers) {
    progress->next_fd = NextFd();
    markers->Begin();
    LinkConsumer link = Must(LinkConsumer::Create(kSurvivor, kNew, kSlotCount));
    progress->made = true;
    progress->refused = Refused(link.Attach(ends.old_link.fd()));
    MustOk(link.Attach(ends.new_link.fd()));
    Message taken;
    MR_CHECK(link.Take(&taken) == LinkResult::kOk, "what is there cannot be taken");
    progress->begun = true;
    link.Return(taken.block.offset);
    progress->published = true;
    markers->End();
  });
  ASSERT_EQ(next.Run(), Stop::kBegin);
  Report report;
  report.points = next.Step([&] {
    const bool there = ends.Offer(next.TakeFd(progress->next_fd), *progress.get(), &report);
    std::vector<uint32_t> back;
    ProducerEnd<Hardware> fresh = ends.new_link;
    const LinkResult got = there ? fresh.CollectReturns(&back) : LinkResult::kEmpty;
    report.Rule(got != LinkResult::kFault, "the next incarnation's first words are a fault");
    report.Rule(back.empty() || progress->begun, "a block came back that nobody returned");
    report.Rule(back.size() == 1 || !progress->published, "a return was lost");
    ProducerEnd<Hardware> old = ends.old_link;
    back.clear();
    report.Rule(old.CollectReturns(&back) == LinkResult::kOk, "the old link's return is lost");
    report.Rule(back.size() + old.TakeBackAll().size() == kBefore, "a block of the old link leaks");
    report.Rule(BytesOf(old_returns.get(), kReturnsType, kOld) == old_bytes,
                "old returns were written");
    report.Rule(BytesOf(ends.old_link.fd(), kSlotsType, kSurvivor) == old_slots,
                "old slots were written");
  });
  EXPECT_EQ(next.stop(), Stop::kEnd);
  EXPECT_EQ(report.broken, "");
  EXPECT_TRUE(progress->refused);
  EXPECT_GT(report.refused, 10u);
  EXPECT_GT(report.accepted, 10u);
  EXPECT_TRUE(Refused(ends.new_link.Attach(old_returns.get())));
  report.Tell("consumer");
}

}  // namespace
}  // namespace millrace
