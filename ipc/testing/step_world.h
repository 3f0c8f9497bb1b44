// What plays a script between a stepped end and its survivor (ipc/testing/link_steps).
//
// Purpose: the two have their own letters and their own audit, the course is the same. Who may
//   call: the parts of link_steps. Invariants: 1. Shared memory is written by one of the two at a
//   time: the child is stopped while the survivor does anything. Nothing fails by itself.
#pragma once

#include <stdint.h>

#include <functional>
#include <memory>
#include <string>

#include "ipc/link.h"
#include "ipc/testing/link_steps.h"
#include "ipc/testing/single_step.h"

namespace millrace {

inline constexpr uint32_t kStepProducer = 1;
inline constexpr uint32_t kStepConsumer = 2;
inline constexpr uint32_t kDeadPeer = 3;
inline constexpr uint64_t kStepSlots = kMinSlots;
inline constexpr uint64_t kMostStepMessages = 1024;

// What the stepped end says of itself, for the auditor alone.
struct StepJournal {
  std::atomic<uint64_t> begun;                   // messages it began to publish
  std::atomic<uint64_t> published;               // of these, Submit has returned
  std::atomic<uint64_t> copied;                  // messages that Take has given
  std::atomic<uint64_t> credited;                // of these, PublishCredits has returned
  std::atomic<uint64_t> returned;                // blocks for which Return has returned
  std::atomic<uint64_t> drained;                 // messages taken from a dead producer
  std::atomic<uint8_t> read[kMostStepMessages];  // the message's block was read to its end
};

class StepWorld {
 public:
  virtual ~StepWorld() = default;
  // In the child: shows its descriptors, meets the parent once, then plays the script.
  virtual void Child(Markers* markers) = 0;
  // In the parent: the child's regions are there.
  virtual void Adopt(const SteppedProcess& child) = 0;
  virtual void Do(char letter) = 0;
  // The child's shared bytes as they are now.
  virtual std::string Bytes() const = 0;
  // What the survivor makes of these bytes; "" if every rule holds.
  virtual std::string Audit(const std::string& bytes) = 0;
};

// The child's part of a script.
void PlayScript(const std::string& script, Markers* markers, const std::function<void(char)>& play);

using MakeWorld = std::function<std::unique_ptr<StepWorld>(const StepCase&)>;
StepReport StepThrough(const StepCase& c, const MakeWorld& make);
StepReport KillAtRandom(const StepCase& c, const MakeWorld& make, int kills, uint64_t seed);

}  // namespace millrace
