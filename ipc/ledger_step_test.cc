// The death of an ingress lane, or a worker's look, at every instruction of a ledger's change.
#include <stdio.h>
#include <string.h>

#include <array>
#include <bit>
#include <optional>

#include "gtest/gtest.h"
#include "ipc/ledger.h"
#include "ipc/testing/find_entry.h"
#include "ipc/testing/must.h"
#include "ipc/testing/single_step.h"

namespace millrace {
namespace {

constexpr uint32_t kIngress = 5;
constexpr size_t kSlotCount = 3;
constexpr PartId kOld = {1, 7, 0, 0}, kReplay = {1, 7, 1, 0}, kNext = {1, 8, 0, 0};

// Every word tells whose it is.
LedgerEntry EntryOf(const PartId& id) {
  std::array<uint64_t, kLedgerWords> words;
  for (size_t i = 0; i < kLedgerWords; ++i) words[i] = id.Pack() + i * 0x0101010101010101ull;
  return std::bit_cast<LedgerEntry>(words);
}

bool IsWhole(const LedgerEntry& found, const PartId& id) {
  const LedgerEntry expected = EntryOf(id);
  return memcmp(&found, &expected, sizeof found) == 0;
}

// A change of slot 1, which holds kOld. `add`: what is wanted afterwards, if anything.
struct Change {
  const char* name;
  std::optional<PartId> add;
  bool in_place = false;  // planted: the words change while `live` names the old entry
};

void Apply(const Change& change, Ledger* ledger) {
  if (!change.add.has_value()) return ledger->Close(kOld.slot);
  if (!change.in_place) return ledger->Open(*change.add, EntryOf(*change.add));
  LedgerSlot& slot = ledger->region().as<LedgerRegion>()->slots[change.add->slot];
  const auto words = std::bit_cast<std::array<uint64_t, kLedgerWords>>(EntryOf(*change.add));
  for (size_t i = 0; i < kLedgerWords; ++i) slot.words[i] = words[i];
  slot.live = uint64_t{change.add->sequence} << 32 | uint64_t{change.add->attempt} << 8 | 1;
}

struct Progress {
  std::atomic<bool> begun, done;
};

// What a worker finds; "" if it is right.
std::string Look(const LedgerView& view, const Change& change, const Progress& progress) {
  const PartId others[] = {{0, 3, 0, 0}, {2, 4, 2, 0}};
  for (const PartId& id : others) {
    const auto found = Find(view, id);
    if (!found.has_value() || !IsWhole(*found, id)) return "another slot's entry changed";
  }
  const auto old = Find(view, kOld);
  if (old.has_value() && !IsWhole(*old, kOld)) return "the old entry is not whole";
  if (!progress.begun && !old.has_value()) return "the old entry went before its time";
  if (progress.done && old.has_value()) return "the old entry is still wanted";
  if (!change.add.has_value()) return "";
  const auto added = Find(view, *change.add);
  if (added.has_value() && !IsWhole(*added, *change.add)) return "the new entry is not whole";
  if (added.has_value() && old.has_value()) return "two entries of one slot are wanted";
  if (progress.done && !added.has_value()) return "the new entry is lost";
  return "";
}

struct Result {
  uint64_t points = 0;
  uint64_t flagged = 0;
  std::string first;
};

Result StepThrough(const Change& change) {
  const SharedBox<Progress> progress;
  SteppedProcess ingress([&](Markers* markers) {
    Ledger ledger = Must(Ledger::Create(kIngress, kSlotCount));
    for (const PartId& id : {PartId{0, 3, 0, 0}, kOld, PartId{2, 4, 2, 0}}) {
      ledger.Open(id, EntryOf(id));
    }
    markers->Show(ledger.region().fd().get());
    markers->Begin();
    progress->begun = true;
    Apply(change, &ledger);
    progress->done = true;
    markers->End();
  });
  EXPECT_EQ(ingress.Run(), Stop::kBegin);
  // A reader writes nothing: it may look at the bytes themselves while their writer stands.
  const LedgerView view = Must(LedgerView::Open(ingress.Shown(0).get(), kIngress));
  Result result;
  result.points = ingress.Step([&] {
    const std::string wrong = Look(view, change, *progress.get());
    if (wrong.empty()) return;
    ++result.flagged;
    if (result.first.empty()) result.first = wrong;
  });
  EXPECT_EQ(ingress.stop(), Stop::kEnd);
  printf("ledger, %s: %zu crash points, flagged %zu\n", change.name, size_t{result.points},
         size_t{result.flagged});
  ::testing::Test::RecordProperty("crash_points", static_cast<int>(result.points));
  return result;
}

TEST(LedgerStepTest, AWriterThatDies) {
  for (const Change& change :
       {Change{"open", kNext}, Change{"replay", kReplay}, Change{"close", std::nullopt}}) {
    const Result result = StepThrough(change);
    EXPECT_EQ(result.first, "") << change.name;
    EXPECT_GT(result.points, change.add.has_value() ? kLedgerWords : 3);
  }
}

TEST(LedgerStepFaultTest, AnEntryChangedWhileItIsLive) {
  const Result result = StepThrough({"changed while live", kNext, /*in_place=*/true});
  EXPECT_EQ(result.first, "the old entry is not whole");
  EXPECT_GE(result.flagged, kLedgerWords);
}

// The reader is the stepped one; the writer makes its whole change at one of its instructions.
struct Copied {
  bool found;
  LedgerEntry entry;
};

std::optional<LedgerEntry> FindWithOneLook(const Region& ledger, const PartId& id) {
  const LedgerSlot& slot = ledger.as<const LedgerRegion>()->slots[id.slot];
  if (static_cast<uint32_t>(slot.live >> 32) != id.sequence) return std::nullopt;
  std::array<uint64_t, kLedgerWords> words;
  for (size_t i = 0; i < kLedgerWords; ++i) words[i] = slot.words[i];
  return std::bit_cast<LedgerEntry>(words);
}

// How often the reader found something, and something that is not whole.
std::pair<int, int> Overtake(const std::optional<PartId>& add, bool one_look, uint64_t most) {
  Ledger ledger = Must(Ledger::Create(kIngress, kSlotCount));
  const int fd = ledger.region().fd().get();
  const SharedBox<Copied> copied;
  int found = 0, torn = 0;
  const uint64_t places = InterruptAtEach(
      [&](Markers* markers) {
        const LedgerView view = Must(LedgerView::Open(fd, kIngress));
        const Region raw = Must(Region::Open(fd, kLedgerType, kIngress, sizeof(LedgerRegion)));
        markers->Begin();
        const auto entry = one_look ? FindWithOneLook(raw, kOld) : Find(view, kOld);
        copied->found = entry.has_value();
        if (entry.has_value()) copied->entry = *entry;
        markers->End();
      },
      [&] {
        ledger.Open(kOld, EntryOf(kOld));
        copied->found = false;
      },
      [&] {
        Apply({"", add}, &ledger);
      },
      [&](uint64_t) {
        found += copied->found;
        torn += copied->found && !IsWhole(copied->entry, kOld);
      },
      most);
  EXPECT_GT(places, kLedgerWords);
  printf("ledger, find: %zu interleavings\n", size_t{places});
  return {found, torn};
}

TEST(LedgerStepTest, AReaderThatIsOvertaken) {
  const auto [found, torn] = Overtake(kNext, /*one_look=*/false, 400);
  EXPECT_GT(found, 0);  // where the change came behind its last look
  EXPECT_EQ(torn, 0);
}

TEST(LedgerStepTest, AReaderThatIsOvertakenByAReplay) {
  const auto [found, torn] = Overtake(kReplay, /*one_look=*/false, 50);
  EXPECT_GT(found, 0);
  EXPECT_EQ(torn, 0);
}

TEST(LedgerStepFaultTest, AReaderThatLooksOnce) {
  EXPECT_GT(Overtake(kNext, /*one_look=*/true, 50).second, 5);
}

}  // namespace
}  // namespace millrace
