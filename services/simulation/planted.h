// Which planted fault is active: for the copies of product sources that plant.py makes, and the
// test that must find every one of them.
//
// Purpose: a checker is worth what it finds. Who may call: planted copies and planted_test.cc; the
//   product has no part in it. Invariant: at most one fault is active. Nothing fails.
#pragma once

#include <stdint.h>

namespace millrace::sim {

enum class PlantedFault : uint8_t {
  kNone,
  // Replay.
  kOldResultTaken,      // a result for an earlier attempt or request of the slot is an answer
  kNotReplayed,         // a request stays with the worker that died
  kAttemptNotCounted,   // it is sent again as the same attempt
  kNobodyIsPoison,      // it is sent again however many it killed
  kBatchNotNamed,       // the page does not say what is executed
  kPastCatalogDropped,  // features drops what is of a catalog that it does not know
  // Admission.
  kUnitLost,              // one unit of some routes is not given back
  kUnitsLostWithAttempt,  // those of an attempt that ended without its answer are not
  kDeadlineIgnored,       // ingress waits for ever
  kLateWorkDone,          // a worker does what is too late
  kUnwantedWorkDone,      // and what nobody wants any more
  // Retirement.
  kSlotStaysWanted,     // the ledger goes on to want what was answered
  kInputKept,           // the input of a request that was replayed is not freed
  kEpochNotAwaited,     // units come back before the workers answered
  kEpochAnsweredEarly,  // a worker answers while it still holds something
  kLentNotTakenBack,    // what was lent to a dead peer stays lent
  kBlockNotCounted,     // a block is free while a peer still reads it
  // Catalogs.
  kCatalogNotAwaited,  // one is given out before the one before it is live
  // Waking.
  kNobodyWoken,  // what is published rings no bell
  kCount
};

inline PlantedFault active_fault = PlantedFault::kNone;
inline bool Planted(PlantedFault fault) { return active_fault == fault; }

}  // namespace millrace::sim
