// How the lanes of each stage shall wait, and on which CPUs.
//
// Purpose: from CPUs, lanes and foreign load to a WaitMode for each stage (ipc/idler.h has what the
//   modes do). Who may call: one thread an object; no I/O, no clock: one Decide is one sample.
// Rules, the first that holds:
//   1. `supervisor.wait` names a mode: that one, always.
//   2. Each process of the stage has a CPU for each of its lanes on which no other process of ours
//      may run a lane: SPIN.
//   3. Others keep kHogShare of our cores busy: PARK.
//   4. The lanes that rule 2 leaves, and one thread more (the supervisor, gRPC's), fit on the cores
//      it leaves, less the foreign load: SPIN.
//   5. YIELD.
// Why a share of the cores: a client on this machine is foreign load too, but it sleeps and wakes
//   with us, and parking for its sake makes both slower. It cannot keep more than some 0.4 of the
//   cores busy, since the server does the larger part of each request's work; with one process that
//   computes without end on two cores, others have 0.65 and more. Measured (README.md). What tells
//   the two apart no better: the time our threads stand in run queues, or pressure (psi), since a
//   lane that yields stands behind our other lanes as well; hogs that lanes count, since they stop
//   trying. And the load is all that can be seen from within a container.
// Invariants:
//   1. PARK comes after kSoon samples in a row above kHogShare, and goes after kLate in a row below
//      kNoHogShare. SPIN by rule 4 goes after kSoon and comes after kLate.
//   2. Before the first sample lanes YIELD, and where the load cannot be read they do so for ever.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "common/cpu_list.h"
#include "ipc/idler.h"
#include "ipc/topology.h"

namespace millrace {

// What the machine did since the last sample.
struct LoadLook {
  double foreign_cores = 0;  // busy with what is not ours
};

// A process that has lanes.
struct WaitProcess {
  Stage stage = Stage::kNone;
  size_t lanes = 1;
  CpuList cpus;  // that it may use
};

using WaitModes = std::array<WaitMode, kStageCount>;  // by stage

inline constexpr WaitModes AllWait(WaitMode mode) {
  WaitModes modes = {};
  for (WaitMode& each : modes) each = mode;
  return modes;
}

class WaitPolicy {
 public:
  static constexpr double kHogShare = 0.55, kNoHogShare = 0.45;
  static constexpr int kSoon = 4, kLate = 8;

  // `cores`: how many this server may keep busy, the lesser of its CPUs and its quota.
  WaitPolicy(std::optional<WaitMode> forced, double cores);

  // The modes of stages without a process mean nothing.
  WaitModes Decide(const LoadLook& look, const std::vector<WaitProcess>& processes);
  // As Decide would say if nothing changed.
  const WaitModes& modes() const { return modes_; }

 private:
  // A condition that must hold, or not hold, for some samples in a row to change its mind.
  struct Steady {
    bool on = false;
    int run = 0;  // samples that say otherwise
    bool Take(bool holds, int to_enter, int to_leave);
  };

  const std::optional<WaitMode> forced_;
  const double cores_;
  WaitModes modes_;
  Steady hog_, room_;
};

// "auto": nothing. Else one of the others of kWaitChoices.
std::optional<WaitMode> ForcedWait(std::string_view choice);

std::string_view WaitModeName(WaitMode mode);

// The CPUs of worker `index` of `count` that share `list`: its own part where there is one for
// each, else all.
CpuList ShareOf(const CpuList& list, size_t index, size_t count);

}  // namespace millrace
