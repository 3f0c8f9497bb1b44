// The life of a process as the supervisor sees it: one table of states and events.
//
// Purpose: what a process is, what the roster says of it, and what may happen next.
// Who may call: any thread; pure. Invariants:
//   1. Row i describes the state of value i; every state has an entry for every event.
//   2. kDying is entered once and left only by the end of the process (which is no state: it is
//      forgotten). No lane of a dying process stands in the roster.
//   3. An event that has no next state is a fault of the process, which is then fenced.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <array>
#include <optional>
#include <string_view>

#include "ipc/roster.h"

namespace millrace {

enum class ProcessState : uint8_t {
  kStarting,   // started, nothing heard of it
  kAnnounced,  // its memory exists; links and warm-up are under way
  kReady,
  kLeaving,   // draining: finishes what it has
  kStopping,  // told to end
  kDying,     // dead or condemned; its end is awaited
};
inline constexpr size_t kProcessStateCount = 6;

enum class ProcessEvent : uint8_t {
  kAnnounce,
  kBecomeReady,
  kDrain,
  kStop,
  kDeath,  // seen, or decided
};
inline constexpr size_t kProcessEventCount = 5;

struct ProcessStateRow {
  ProcessState state;
  std::string_view name;
  std::array<std::optional<ProcessState>, kProcessEventCount> next;  // by ProcessEvent
  std::optional<RosterState> roster;  // of its lanes; none: they do not stand there
  bool links;                         // new peers are told of it
  bool must_beat;                     // a silent lane is a hang
};

inline constexpr std::array<ProcessStateRow, kProcessStateCount> kProcessStates = {{
    // state, name, {announce, become ready, drain, stop, death}, roster, links, must beat
    {ProcessState::kStarting,
     "starting",
     {ProcessState::kAnnounced, ProcessState::kReady, ProcessState::kStopping,
      ProcessState::kStopping, ProcessState::kDying},
     std::nullopt,
     false,
     false},
    {ProcessState::kAnnounced,
     "announced",
     {std::nullopt, ProcessState::kReady, ProcessState::kLeaving, ProcessState::kStopping,
      ProcessState::kDying},
     RosterState::kStarting,
     true,
     false},
    {ProcessState::kReady,
     "ready",
     {std::nullopt, std::nullopt, ProcessState::kLeaving, ProcessState::kStopping,
      ProcessState::kDying},
     RosterState::kReady,
     true,
     true},
    {ProcessState::kLeaving,
     "leaving",
     {std::nullopt, std::nullopt, ProcessState::kLeaving, ProcessState::kStopping,
      ProcessState::kDying},
     RosterState::kLeaving,
     true,
     true},
    {ProcessState::kStopping,
     "stopping",
     {std::nullopt, std::nullopt, ProcessState::kStopping, ProcessState::kStopping,
      ProcessState::kDying},
     RosterState::kLeaving,
     false,
     false},
    {ProcessState::kDying,
     "dying",
     {std::nullopt, std::nullopt, std::nullopt, std::nullopt, std::nullopt},
     std::nullopt,
     false,
     false},
}};

inline constexpr const ProcessStateRow& RowOf(ProcessState state) {
  return kProcessStates[static_cast<size_t>(state)];
}

inline constexpr std::optional<ProcessState> NextState(ProcessState state, ProcessEvent event) {
  return RowOf(state).next[static_cast<size_t>(event)];
}

namespace lifecycle_internal {
constexpr bool RowsStandInOrder() {
  for (size_t i = 0; i < kProcessStateCount; ++i) {
    if (kProcessStates[i].state != static_cast<ProcessState>(i)) return false;
  }
  return true;
}
constexpr bool DeathIsAlwaysPossibleOnce() {
  for (const ProcessStateRow& row : kProcessStates) {
    const bool dying = row.state == ProcessState::kDying;
    if (row.next[static_cast<size_t>(ProcessEvent::kDeath)].has_value() == dying) return false;
  }
  return true;
}
}  // namespace lifecycle_internal
static_assert(lifecycle_internal::RowsStandInOrder());
static_assert(lifecycle_internal::DeathIsAlwaysPossibleOnce());

}  // namespace millrace
