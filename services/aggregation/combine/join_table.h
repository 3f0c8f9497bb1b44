// Brings the parts of an ensemble together: a table as large as aggregation's window.
//
// Purpose: each member's result arrives on its own; the caller gets all parts of an attempt at once
//   when the last one is there. Who may call: one thread, the lane.
// Ownership: a part is the caller's plain value (a message and where it came from). The table holds
//   it only where Add says kHeld or kJoined; a part that was not taken is still the caller's to
//   return to its owner. A Joined points into the table until the next call of Add or Sweep.
// Invariants:
//   1. An entry is (origin, id without its member): another attempt is another entry.
//   2. A part that Add took comes out exactly once: in a Joined, or through Sweep.
//   3. Memory is fixed by the constructor. Open addressing with at least half the cells free and
//      deletion that shifts back, so there are no tombstones; a peer that chooses colliding ids can
//      make a call cost no more than one look at each entry.
//   4. An entry is joined when each of its `member_count` members is there.
// What fails: Add says why it did not take a part; nothing else.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <bit>
#include <bitset>
#include <type_traits>
#include <vector>

#include "absl/types/span.h"
#include "common/check.h"
#include "ipc/message.h"

namespace millrace {

enum class AddOutcome : uint8_t {
  kHeld,       // taken; others are still to come
  kJoined,     // taken, and it was the last: the entry is out of the table
  kDuplicate,  // this member is there already
  kInvalid,    // no such member, or a count other than that of the entry's first part
  kFull,       // as many entries as the window is large
};

template <typename Part>
class JoinTable {
  static_assert(std::is_trivially_copyable_v<Part>, "a part is a plain value");

 public:
  static constexpr size_t kMaxMembers = 256;

  struct Joined {
    uint32_t origin = 0;
    PartId id;                     // member is 0
    absl::Span<const Part> parts;  // by member
  };
  struct AddResult {
    AddOutcome outcome;
    const Joined* joined = nullptr;  // set for kJoined
  };

  // Holds up to `capacity` attempts of up to `max_members` members each.
  JoinTable(size_t capacity, size_t max_members)
      : max_members_(max_members),
        cells_(std::bit_ceil(2 * capacity), kFree),
        entries_(capacity),
        parts_(capacity * max_members) {
    MR_CHECK(capacity > 0 && capacity < kFree / 2, "a join table holds something");
    MR_CHECK(max_members > 0 && max_members <= kMaxMembers, "a member's index is one byte");
    free_.reserve(capacity);
    for (size_t e = capacity; e > 0; --e) free_.push_back(static_cast<uint32_t>(e - 1));
  }

  AddResult Add(uint32_t origin, PartId id, size_t member_count, const Part& part) {
    const size_t member = id.member;
    if (member_count > max_members_ || member >= member_count) return {AddOutcome::kInvalid};
    id.member = 0;
    const uint64_t key = id.Pack();
    const size_t cell = FindCell(origin, key);
    if (cells_[cell] == kFree) {
      if (free_.empty()) return {AddOutcome::kFull};
      cells_[cell] = free_.back();
      free_.pop_back();
      Entry& fresh = entries_[cells_[cell]];
      fresh = Entry{key, origin, static_cast<uint16_t>(member_count), 0, true, {}};
    }
    const uint32_t index = cells_[cell];
    Entry& entry = entries_[index];
    if (entry.member_count != member_count) return {AddOutcome::kInvalid};
    if (entry.present[member]) return {AddOutcome::kDuplicate};
    entry.present.set(member);
    parts_[index * max_members_ + member] = part;
    if (++entry.arrived < entry.member_count) return {AddOutcome::kHeld};
    Remove(cell);
    joined_ = {origin, id, absl::MakeConstSpan(&parts_[index * max_members_], member_count)};
    return {AddOutcome::kJoined, &joined_};
  }

  // Drops every entry for which `stale(origin, id)` is true (id.member is 0) and hands each part it
  // held to `drop(origin, id, part)` (with its member). Neither may call the table. Returns how
  // many entries were dropped.
  template <typename Stale, typename Drop>
  size_t Sweep(Stale&& stale, Drop&& drop) {
    size_t dropped = 0;
    for (size_t e = 0; e < entries_.size(); ++e) {
      const Entry& entry = entries_[e];
      if (!entry.live) continue;
      PartId id = PartId::Unpack(entry.key);
      if (!stale(entry.origin, id)) continue;
      for (size_t m = 0; m < entry.member_count; ++m) {
        id.member = static_cast<uint8_t>(m);
        if (entry.present[m]) drop(entry.origin, id, parts_[e * max_members_ + m]);
      }
      Remove(FindCell(entry.origin, entry.key));
      ++dropped;
    }
    return dropped;
  }

  // Attempts that wait for members.
  size_t size() const { return entries_.size() - free_.size(); }
  size_t capacity() const { return entries_.size(); }

 private:
  static constexpr uint32_t kFree = UINT32_MAX;

  struct Entry {
    uint64_t key = 0;  // PartId::Pack, member 0
    uint32_t origin = 0;
    uint16_t member_count = 0;
    uint16_t arrived = 0;
    bool live = false;
    std::bitset<kMaxMembers> present;
  };

  size_t HomeCell(uint32_t origin, uint64_t key) const {
    uint64_t h = (key ^ uint64_t{origin} << 20) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
    return (h ^ h >> 32) & (cells_.size() - 1);
  }

  // The entry's cell, or the free cell where it belongs. Ends: half the cells are free.
  size_t FindCell(uint32_t origin, uint64_t key) const {
    size_t cell = HomeCell(origin, key);
    while (cells_[cell] != kFree) {
      const Entry& entry = entries_[cells_[cell]];
      if (entry.key == key && entry.origin == origin) break;
      cell = (cell + 1) & (cells_.size() - 1);
    }
    return cell;
  }

  // Frees the entry, then moves back each follower that its home cell allows, so that no search
  // meets a hole before what it looks for.
  void Remove(size_t hole) {
    const size_t mask = cells_.size() - 1;
    MR_CHECK(cells_[hole] != kFree, "only an entry that is there is removed");
    entries_[cells_[hole]].live = false;
    free_.push_back(cells_[hole]);
    for (size_t next = (hole + 1) & mask; cells_[next] != kFree; next = (next + 1) & mask) {
      const Entry& entry = entries_[cells_[next]];
      const size_t home = HomeCell(entry.origin, entry.key);
      if (((next - home) & mask) < ((next - hole) & mask)) continue;  // its home is past the hole
      cells_[hole] = cells_[next];
      hole = next;
    }
    cells_[hole] = kFree;
  }

  size_t max_members_;
  std::vector<uint32_t> cells_;  // indices of entries; a power of two of them
  std::vector<Entry> entries_;
  std::vector<Part> parts_;  // max_members_ for each entry
  std::vector<uint32_t> free_;
  Joined joined_;
};

}  // namespace millrace
