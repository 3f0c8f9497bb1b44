// The judge of the kill torture against histories in which one thing is wrong.
#include "ipc/testing/history_check.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint32_t kOwner = 1;
constexpr uint32_t kWorker = 2;
constexpr uint32_t kNext = 3;  // the worker that replaces it
constexpr uint32_t kBlock = 256;
constexpr uint32_t kAnswerBlock = 1024;

// What one incarnation did, said event by event; time passes over all of them together.
class Diary {
 public:
  explicit Diary(int64_t* clock) : clock_(clock) {}
  Diary& Say(What what, uint32_t peer, uint64_t number, uint32_t offset = 0, uint8_t attempt = 0) {
    events.push_back({.time_ns = ++*clock_,
                      .entry = uint64_t{kOwner} << 32 | number,
                      .digest = number * 1000 + offset,
                      .peer = peer,
                      .offset = offset,
                      .length = 10,
                      .attempt = attempt,
                      .what = what});
    return *this;
  }
  Diary& Left(What what, uint32_t peer, uint64_t blocks) {
    events.push_back({.time_ns = ++*clock_, .value = blocks, .peer = peer, .what = what});
    return *this;
  }
  std::vector<Event> events;

 private:
  int64_t* clock_;
};

class HistoryCheckTest : public ::testing::Test {
 protected:
  // Entry `number` is opened and offered.
  void Send(uint64_t number, uint32_t offset = 0, uint32_t to = kWorker, uint8_t attempt = 0) {
    if (attempt == 0) owner.Say(What::kOpen, 0, number, offset);
    owner.Say(What::kOffer, to, number, offset, attempt);
    owner.Say(What::kOffered, to, number, offset, attempt);
    owner.Say(What::kWoke, to, 0);
  }
  // The worker takes it, gives its block back and answers; the owner takes the answer.
  void Serve(Diary* by, uint32_t name, uint64_t number, uint32_t offset = 0, uint8_t attempt = 0) {
    by->Say(What::kTook, kOwner, number, offset, attempt);
    Answer(by, name, number, offset, attempt);
  }
  void Answer(Diary* by, uint32_t name, uint64_t number, uint32_t offset, uint8_t attempt) {
    by->Say(What::kFinished, kOwner, number, offset, attempt);
    by->Say(What::kOffer, kOwner, number, 0, attempt);
    by->Say(What::kOffered, kOwner, number, 0, attempt);
    by->Say(What::kWoke, kOwner, 0);
    if (offset != 0) owner.Say(What::kBack, name, number, offset);
    owner.Say(What::kTook, name, number, 0, attempt);
    owner.Say(What::kDone, name, number, 0, attempt);
    owner.Say(What::kFinished, name, number, 0, attempt);
  }
  void KillWorker() { worker_killed_ns = ++clock; }

  std::vector<std::string> Verdict() {
    return CheckHistories({{kOwner, true, owner_killed_ns, owner.events},
                           {kWorker, false, worker_killed_ns, worker.events},
                           {kNext, false, 0, next.events}});
  }

  int64_t clock = 0;
  Diary owner{&clock}, worker{&clock}, next{&clock};
  int64_t owner_killed_ns = 0, worker_killed_ns = 0;
};

TEST_F(HistoryCheckTest, WorkWithoutDeathIsInOrder) {
  for (uint64_t n = 1; n <= 3; ++n) {
    Send(n, n == 2 ? 0 : kBlock);
    Serve(&worker, kWorker, n, n == 2 ? 0 : kBlock);
  }
  owner.Left(What::kQuiet, 0, 0);
  worker.Left(What::kDeath, kOwner, 0).Left(What::kEnded, kOwner, 0).Left(What::kQuiet, 0, 0);
  EXPECT_THAT(Verdict(), IsEmpty());
}

TEST_F(HistoryCheckTest, WhatADeadWorkerHeldIsDoneByTheNext) {
  Send(1, kBlock);
  Send(2);
  worker.Say(What::kTook, kOwner, 1, kBlock);
  KillWorker();
  owner.Left(What::kDeath, kWorker, 0).Say(What::kTakenBack, kWorker, 1, kBlock);
  owner.Left(What::kEnded, kWorker, 1);
  Send(1, kBlock, kNext, 1);
  Send(2, 0, kNext, 1);
  Serve(&next, kNext, 1, kBlock, 1);
  Serve(&next, kNext, 2, 0, 1);
  owner.Left(What::kQuiet, 0, 0);
  EXPECT_THAT(Verdict(), IsEmpty());
}

TEST_F(HistoryCheckTest, AnEntryMayBeLostWithItsOwner) {
  Send(1, kBlock);
  owner_killed_ns = ++clock;
  worker.Left(What::kDeath, kOwner, 0).Say(What::kTook, kOwner, 1, kBlock);
  worker.Say(What::kFinished, kOwner, 1, kBlock).Left(What::kEnded, kOwner, 0);
  EXPECT_THAT(Verdict(), IsEmpty());
}

TEST_F(HistoryCheckTest, TakenTwice) {
  Send(1);
  worker.Say(What::kTook, kOwner, 1).Say(What::kTook, kOwner, 1);
  EXPECT_THAT(Verdict(), ElementsAre(HasSubstr("taken twice: entry 1.1 attempt 0")));
}

TEST_F(HistoryCheckTest, TakenOutOfOrder) {
  Send(1);
  Send(2);
  worker.Say(What::kTook, kOwner, 2);
  EXPECT_THAT(Verdict(), ElementsAre(HasSubstr("taken out of order: entry 1.2")));
}

TEST_F(HistoryCheckTest, TakenFromNowhere) {
  Send(1);
  worker.Say(What::kTook, kOwner, 9);
  EXPECT_THAT(Verdict(), ElementsAre(HasSubstr("taken though nobody sent it: entry 1.9")));
}

TEST_F(HistoryCheckTest, PublishedAndLost) {
  Send(1);
  Send(2);
  owner_killed_ns = ++clock;
  worker.Left(What::kDeath, kOwner, 0).Say(What::kTook, kOwner, 1).Left(What::kEnded, kOwner, 0);
  EXPECT_THAT(Verdict(),
              ElementsAre(HasSubstr("1 messages that 1 published are lost, from entry 1.2")));
}

TEST_F(HistoryCheckTest, NotPublishedMayBeLost) {
  owner.Say(What::kOpen, 0, 1).Say(What::kOffer, kWorker, 1);
  owner_killed_ns = ++clock;
  worker.Left(What::kDeath, kOwner, 0).Left(What::kEnded, kOwner, 0);
  EXPECT_THAT(Verdict(), IsEmpty());
}

TEST_F(HistoryCheckTest, NeverDone) {
  Send(1);
  owner.Left(What::kQuiet, 0, 0);
  EXPECT_THAT(Verdict(), ElementsAre(HasSubstr("entry 1.1 is lost: never done")));
}

TEST_F(HistoryCheckTest, DoneTwice) {
  Send(1);
  Serve(&worker, kWorker, 1);
  owner.Say(What::kDone, kWorker, 1);
  EXPECT_THAT(Verdict(), ElementsAre(HasSubstr("done twice: entry 1.1")));
}

TEST_F(HistoryCheckTest, DoneByAnAnswerThatIsTooLate) {
  Send(1);
  worker.Say(What::kTook, kOwner, 1);
  KillWorker();
  owner.Left(What::kDeath, kWorker, 0).Left(What::kEnded, kWorker, 0);
  Send(1, 0, kNext, 1);
  owner.Say(What::kDone, kWorker, 1);
  EXPECT_THAT(Verdict(), ElementsAre(HasSubstr("done without an answer to its latest attempt")));
}

TEST_F(HistoryCheckTest, AnsweredTwice) {
  Send(1);
  worker.Say(What::kTook, kOwner, 1).Say(What::kOffer, kOwner, 1).Say(What::kOffer, kOwner, 1);
  EXPECT_THAT(Verdict(),
              ElementsAre(HasSubstr("an answer to what was not taken, or a second one")));
}

TEST_F(HistoryCheckTest, SentAgainUnderTheSameAttempt) {
  Send(1);
  KillWorker();
  owner.Left(What::kDeath, kWorker, 0).Left(What::kEnded, kWorker, 0);
  owner.Say(What::kOffer, kNext, 1);
  EXPECT_THAT(Verdict(),
              ElementsAre(HasSubstr("sent again without counting: entry 1.1 attempt 0")));
}

TEST_F(HistoryCheckTest, TornOnArrival) {
  Send(1, kBlock);
  worker.Say(What::kTook, kOwner, 1, kBlock);
  worker.events.back().digest ^= 1;
  EXPECT_THAT(Verdict(),
              ElementsAre(HasSubstr("the bytes are not those that were sent: entry 1.1")));
}

TEST_F(HistoryCheckTest, ShorterOnArrival) {
  Send(1, kBlock);
  worker.Say(What::kTook, kOwner, 1, kBlock);
  worker.events.back().length -= 1;
  EXPECT_THAT(Verdict(), ElementsAre(HasSubstr("the bytes are not those that were sent")));
}

TEST_F(HistoryCheckTest, TornWhileHeld) {
  Send(1, kBlock);
  worker.Say(What::kTook, kOwner, 1, kBlock).Say(What::kFinished, kOwner, 1, kBlock);
  worker.events.back().digest ^= 1;
  EXPECT_THAT(Verdict(),
              ElementsAre(HasSubstr("the bytes changed while they were held: entry 1.1")));
}

TEST_F(HistoryCheckTest, ABlockUsedAgainWhileItIsLent) {
  Send(1, kBlock);
  Serve(&worker, kWorker, 1);  // the entry is done, but its block has not come back
  worker.events[0].offset = kBlock;
  worker.events[0].digest = owner.events[1].digest;
  worker.events[1].digest = owner.events[1].digest;
  owner.Say(What::kOpen, 0, 2, kBlock);
  EXPECT_THAT(Verdict(), ElementsAre(HasSubstr("a block in use was allocated for entry 1.2")));
}

// The owner's own account is in order; only the clock tells that the block was still held.
TEST_F(HistoryCheckTest, ABlockUsedAgainWhileItIsHeld) {
  Send(1, kBlock);
  worker.Say(What::kTook, kOwner, 1, kBlock);
  owner.Say(What::kBack, kWorker, 1, kBlock);
  owner.Say(What::kTook, kWorker, 1).Say(What::kDone, kWorker, 1);
  owner.Say(What::kOpen, 0, 2, kBlock);
  worker.Say(What::kFinished, kOwner, 1, kBlock).Say(What::kOffer, kOwner, 1);
  EXPECT_THAT(Verdict(), ElementsAre(HasSubstr("used a block again that 2 held: entry 1.2")));
}

TEST_F(HistoryCheckTest, ABlockUsedAgainBeforeItsHolderWasKilled) {
  Send(1, kBlock);
  worker.Say(What::kTook, kOwner, 1, kBlock);
  owner.Left(What::kDeath, kWorker, 0).Say(What::kTakenBack, kWorker, 1, kBlock);
  owner.Say(What::kOffer, kNext, 2, kBlock, 0);
  KillWorker();
  EXPECT_THAT(Verdict(),
              ::testing::Contains(HasSubstr("used a block again that 2 held: entry 1.2")));
}

TEST_F(HistoryCheckTest, AnAnswersBlockUsedAgainWhileItIsLent) {
  Send(1);
  Send(2);
  worker.Say(What::kTook, kOwner, 1).Say(What::kTook, kOwner, 2);
  worker.Say(What::kOffer, kOwner, 1, kAnswerBlock).Say(What::kOffer, kOwner, 2, kAnswerBlock);
  EXPECT_THAT(Verdict(),
              ElementsAre(HasSubstr("a block that is lent was used again for entry 1.2")));
}

TEST_F(HistoryCheckTest, ABlockThatCameBackTwice) {
  Send(1, kBlock);
  Serve(&worker, kWorker, 1, kBlock);
  owner.Say(What::kBack, kWorker, 1, kBlock);
  EXPECT_THAT(Verdict(),
              ElementsAre(HasSubstr("a block came back from 2 that was not lent to it")));
}

TEST_F(HistoryCheckTest, ABlockTakenBackFromTheLiving) {
  Send(1, kBlock);
  owner.Say(What::kTakenBack, kWorker, 1, kBlock);
  EXPECT_THAT(Verdict(), ElementsAre(HasSubstr("took a block back from 2, which lived")));
}

TEST_F(HistoryCheckTest, ABlockLeftWithTheDead) {
  Send(1, kBlock);
  KillWorker();
  owner.Left(What::kDeath, kWorker, 0).Left(What::kEnded, kWorker, 1);
  EXPECT_THAT(Verdict(), ElementsAre(HasSubstr("1 blocks are still lent to 2, which has ended")));
}

TEST_F(HistoryCheckTest, ABlockLeakedInTheArena) {
  Send(1, kBlock);
  Serve(&worker, kWorker, 1, kBlock);
  owner.Left(What::kQuiet, 0, 1);
  EXPECT_THAT(Verdict(), ElementsAre(HasSubstr("blocks are leaked: 1 are taken instead of 0")));
}

TEST_F(HistoryCheckTest, AFaultInAnHonestPeer) {
  owner.Left(What::kFault, kWorker, 5);
  EXPECT_THAT(Verdict(), ElementsAre(HasSubstr("found fault 5 in an honest peer, 2")));
}

TEST_F(HistoryCheckTest, AWakeUpThatWasLost) {
  Send(1);
  worker.Left(What::kRescue, kOwner, 0);
  EXPECT_THAT(Verdict(),
              ElementsAre(HasSubstr("slept on beside a message of 1, which had woken it")));
}

TEST_F(HistoryCheckTest, AWakeUpThatASenderDidNotComeTo) {
  owner.Say(What::kOpen, 0, 1).Say(What::kOffer, kWorker, 1).Say(What::kOffered, kWorker, 1);
  worker.Left(What::kRescue, kOwner, 0);
  owner.Say(What::kWoke, kWorker, 0);  // later than the rescue
  EXPECT_THAT(Verdict(), IsEmpty());
}

}  // namespace
}  // namespace millrace
