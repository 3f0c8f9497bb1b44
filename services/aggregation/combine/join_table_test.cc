// The join table against a std::map, under random orders of arrival.
#include "services/aggregation/combine/join_table.h"

#include <algorithm>
#include <map>
#include <random>
#include <tuple>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;

struct Part {
  uint64_t serial = 0;
};
using Table = JoinTable<Part>;

PartId Id(uint16_t slot, uint32_t sequence, uint8_t attempt, uint8_t member) {
  return {slot, sequence, attempt, member};
}

TEST(JoinTable, PartsComeOutByMember) {
  Table table(4, 3);
  EXPECT_EQ(table.Add(7, Id(1, 2, 3, 2), 3, {20}).outcome, AddOutcome::kHeld);
  EXPECT_EQ(table.Add(7, Id(1, 2, 3, 0), 3, {10}).joined, nullptr);
  EXPECT_EQ(table.size(), 1u);
  const Table::AddResult last = table.Add(7, Id(1, 2, 3, 1), 3, {15});
  ASSERT_EQ(last.outcome, AddOutcome::kJoined);
  EXPECT_EQ(last.joined->origin, 7u);
  EXPECT_EQ(last.joined->id, Id(1, 2, 3, 0));
  ASSERT_EQ(last.joined->parts.size(), 3u);
  EXPECT_EQ(last.joined->parts[0].serial, 10u);
  EXPECT_EQ(last.joined->parts[1].serial, 15u);
  EXPECT_EQ(last.joined->parts[2].serial, 20u);
  EXPECT_EQ(table.size(), 0u);
}

TEST(JoinTable, AModelWithOneMemberJoinsAtOnce) {
  Table table(1, 1);
  for (uint64_t i = 0; i < 5; ++i) {
    const Table::AddResult result = table.Add(1, Id(0, i, 0, 0), 1, {i});
    ASSERT_EQ(result.outcome, AddOutcome::kJoined);
    EXPECT_EQ(result.joined->parts[0].serial, i);
  }
}

TEST(JoinTable, AttemptsAndOriginsAreKeptApart) {
  Table table(8, 2);
  for (const auto& [origin, id] : {std::pair{1u, Id(1, 1, 0, 0)},
                                   {2u, Id(1, 1, 0, 1)},
                                   {1u, Id(1, 1, 1, 1)},
                                   {1u, Id(2, 1, 0, 1)},
                                   {1u, Id(1, 2, 0, 1)}}) {
    EXPECT_EQ(table.Add(origin, id, 2, {0}).outcome, AddOutcome::kHeld);
  }
  EXPECT_EQ(table.size(), 5u);
}

TEST(JoinTable, RefusesDuplicatesStrangersAndMoreThanItHolds) {
  Table table(2, 3);
  EXPECT_EQ(table.Add(1, Id(0, 0, 0, 0), 2, {5}).outcome, AddOutcome::kHeld);
  EXPECT_EQ(table.Add(1, Id(0, 0, 0, 0), 2, {6}).outcome, AddOutcome::kDuplicate);
  EXPECT_EQ(table.Add(1, Id(0, 0, 0, 1), 3, {6}).outcome, AddOutcome::kInvalid);
  EXPECT_EQ(table.Add(1, Id(0, 0, 0, 2), 2, {6}).outcome, AddOutcome::kInvalid);
  EXPECT_EQ(table.Add(1, Id(9, 0, 0, 0), 0, {6}).outcome, AddOutcome::kInvalid);
  EXPECT_EQ(table.Add(1, Id(9, 0, 0, 0), 4, {6}).outcome, AddOutcome::kInvalid);
  EXPECT_EQ(table.size(), 1u);
  EXPECT_EQ(table.Add(1, Id(1, 0, 0, 0), 2, {7}).outcome, AddOutcome::kHeld);
  EXPECT_EQ(table.Add(1, Id(2, 0, 0, 0), 2, {8}).outcome, AddOutcome::kFull);
  EXPECT_EQ(table.Add(1, Id(2, 0, 0, 0), 1, {8}).outcome, AddOutcome::kFull);
  const Table::AddResult joined = table.Add(1, Id(0, 0, 0, 1), 2, {9});
  ASSERT_EQ(joined.outcome, AddOutcome::kJoined);
  EXPECT_EQ(joined.joined->parts[0].serial, 5u);
  EXPECT_EQ(table.Add(1, Id(2, 0, 0, 0), 2, {8}).outcome, AddOutcome::kHeld);
}

TEST(JoinTable, HoldsAllMembersThatAnIdCanName) {
  Table table(1, 256);
  for (int m = 255; m > 0; --m) {
    ASSERT_EQ(table.Add(1, Id(0, 0, 0, m), 256, {uint64_t(m)}).outcome, AddOutcome::kHeld);
  }
  const Table::AddResult last = table.Add(1, Id(0, 0, 0, 0), 256, {0});
  ASSERT_EQ(last.outcome, AddOutcome::kJoined);
  for (size_t m = 0; m < 256; ++m) ASSERT_EQ(last.joined->parts[m].serial, m);
}

TEST(JoinTable, SweepHandsBackWhatItHeld) {
  Table table(4, 3);
  table.Add(1, Id(1, 0, 0, 2), 3, {12});
  table.Add(1, Id(1, 0, 0, 0), 3, {10});
  table.Add(2, Id(5, 0, 0, 1), 3, {51});
  std::vector<std::tuple<uint32_t, uint8_t, uint64_t>> dropped;
  const auto drop = [&](uint32_t origin, PartId id, const Part& part) {
    dropped.push_back({origin, id.member, part.serial});
  };
  EXPECT_EQ(table.Sweep([](uint32_t, PartId) { return false; }, drop), 0u);
  EXPECT_EQ(
      table.Sweep([](uint32_t origin, PartId id) { return origin == 1 && id.slot == 1; }, drop),
      1u);
  EXPECT_THAT(dropped, ElementsAre(std::tuple{1u, 0, 10u}, std::tuple{1u, 2, 12u}));
  EXPECT_EQ(table.size(), 1u);
}

// The model: what is held, by (origin, id without member), then by member.
struct Key {
  uint32_t origin;
  uint64_t id;
  auto operator<=>(const Key&) const = default;
};
struct Held {
  size_t member_count;
  std::map<size_t, uint64_t> parts;
};

class Model {
 public:
  Model(size_t capacity, size_t max_members) : capacity_(capacity), max_members_(max_members) {}

  AddOutcome Add(Key key, size_t member, size_t count, uint64_t serial, Held* joined) {
    if (count > max_members_ || member >= count) return AddOutcome::kInvalid;
    const auto found = held.find(key);
    if (found == held.end() && held.size() == capacity_) return AddOutcome::kFull;
    Held& entry = held.try_emplace(key, Held{count, {}}).first->second;
    if (entry.member_count != count) return AddOutcome::kInvalid;
    if (!entry.parts.emplace(member, serial).second) return AddOutcome::kDuplicate;
    if (entry.parts.size() < count) return AddOutcome::kHeld;
    *joined = entry;
    held.erase(key);
    return AddOutcome::kJoined;
  }

  std::map<Key, Held> held;

 private:
  size_t capacity_;
  size_t max_members_;
};

class Walk {
 public:
  explicit Walk(uint32_t seed)
      : random_(seed),
        capacity_(1 + random_() % 20),
        max_members_(1 + random_() % 5),
        table_(capacity_, max_members_),
        model_(capacity_, max_members_) {}

  void Add() {
    // Few names, so that they meet; now and then a wrong count or member.
    const PartId id = Id(random_() % 8, random_() % 2, random_() % 2,
                         random_() % (max_members_ + (random_() % 20 == 0)));
    const uint32_t origin = random_() % 3;
    PartId bare = id;
    bare.member = 0;
    const size_t usual = 1 + id.slot % max_members_;
    const size_t count = random_() % 20 == 0 ? random_() % 8 : usual;
    const uint64_t serial = ++serial_;
    Held joined;
    const AddOutcome expected =
        model_.Add({origin, bare.Pack()}, id.member, count, serial, &joined);
    const Table::AddResult got = table_.Add(origin, id, count, {serial});
    ++outcomes[static_cast<size_t>(expected)];
    ASSERT_EQ(got.outcome, expected);
    ASSERT_EQ(got.joined != nullptr, expected == AddOutcome::kJoined);
    ASSERT_EQ(table_.size(), model_.held.size());
    if (got.joined == nullptr) return;
    ASSERT_EQ(got.joined->origin, origin);
    ASSERT_EQ(got.joined->id, bare);
    ASSERT_EQ(got.joined->parts.size(), joined.parts.size());
    for (const auto& [m, s] : joined.parts) ASSERT_EQ(got.joined->parts[m].serial, s);
  }

  void Sweep() {
    const uint32_t salt = random_();
    const auto stale = [&](uint32_t origin, PartId id) {
      return (salt >> ((id.slot + 3 * origin + id.attempt + id.sequence) % 32) & 1) != 0;
    };
    std::vector<std::tuple<uint32_t, uint64_t, uint64_t>> expected, got;
    size_t entries = 0;
    for (auto i = model_.held.begin(); i != model_.held.end();) {
      if (!stale(i->first.origin, PartId::Unpack(i->first.id))) {
        ++i;
        continue;
      }
      for (const auto& [m, s] : i->second.parts) {
        expected.push_back({i->first.origin, i->first.id + m, s});
      }
      i = model_.held.erase(i);
      ++entries;
    }
    const size_t dropped = table_.Sweep(stale, [&](uint32_t origin, PartId id, const Part& part) {
      got.push_back({origin, id.Pack(), part.serial});
    });
    std::sort(got.begin(), got.end());
    std::sort(expected.begin(), expected.end());
    ASSERT_EQ(dropped, entries);
    ASSERT_EQ(got, expected);
    ASSERT_EQ(table_.size(), model_.held.size());
  }

  uint32_t Next() { return random_(); }
  size_t outcomes[5] = {};

 private:
  std::mt19937 random_;
  size_t capacity_;
  size_t max_members_;
  Table table_;
  Model model_;
  uint64_t serial_ = 0;
};

TEST(JoinTable, RandomWalksEqualTheModel) {
  size_t seen[5] = {};
  for (uint32_t seed = 0; seed < 300; ++seed) {
    Walk walk(seed);
    for (int step = 0; step < 1000; ++step) {
      if (walk.Next() % 40 == 0)
        walk.Sweep();
      else
        walk.Add();
      if (::testing::Test::HasFatalFailure()) FAIL() << "seed " << seed << " step " << step;
    }
    for (size_t i = 0; i < 5; ++i) seen[i] += walk.outcomes[i];
  }
  for (const size_t count : seen) EXPECT_GT(count, 1000u);
}

// A part of each attempt of a full table, in every order: all are found again.
TEST(JoinTable, AFullTableInEveryOrder) {
  std::vector<uint16_t> order = {0, 1, 2, 3, 4, 5};
  do {
    Table table(order.size(), 2);
    for (uint16_t slot = 0; slot < order.size(); ++slot) {
      ASSERT_EQ(table.Add(slot % 2, Id(slot, 1, 0, 0), 2, {slot}).outcome, AddOutcome::kHeld);
    }
    for (const uint16_t slot : order) {
      const Table::AddResult result = table.Add(slot % 2, Id(slot, 1, 0, 1), 2, {99});
      ASSERT_EQ(result.outcome, AddOutcome::kJoined);
      ASSERT_EQ(result.joined->parts[0].serial, slot);
    }
    ASSERT_EQ(table.size(), 0u);
  } while (std::next_permutation(order.begin(), order.end()));
}

}  // namespace
}  // namespace millrace
