// Windows: how much one ingress lane may have at one worker, and what is sized by it.
//
// Purpose: the sums that make a full ring or arena impossible past admission, in one place.
// Who may call: any thread. The sums (lanes = IngressLanes(config), at most kMaxIngressLanes;
// units = kWindowUnits):
//   - link ingress -> worker: units of one lane                          = 64  <= 128 slots
//   - link worker -> worker:  units of all lanes                         = 768 <= kSlots
//   - link worker -> ingress: units of one lane                          = 64  <= 128 slots
//     (twice: an ingress lane gives a unit away again in the turn in which it takes the answer,
//     before it has told its credits, so that an answer to the next request may come meanwhile)
//   - a worker's arena: for each lane, units blocks of WorkerWindowBytes together
//   - an ingress lane's arena: a block for each ledger slot of IngressWindowBytes together
// A unit is one message: a request takes one at features, one at execution for each member, one at
// aggregation for each member. Bytes are counted in whole blocks (ArenaShape::BlockBytes).
#pragma once

#include <stddef.h>

#include "common/config.h"
#include "ipc/arena.h"
#include "ipc/link.h"
#include "ipc/page.h"
#include "ipc/tensor_pack.h"
#include "ipc/topology.h"

namespace millrace {

inline constexpr size_t kWindowUnits = 64;
static_assert(kWindowUnits * kMaxIngressLanes <= kSlots, "a ring holds the sum of the windows");

// Lanes of one ingress process: gRPC, HTTP, local clients.
inline constexpr size_t kLanesOfAnIngress = 3;
// Lanes that may hold something at a worker: of all ingress processes that there may be.
inline size_t IngressLanes(const Config& config) {
  return kLanesOfAnIngress * static_cast<size_t>(config.ingress_max_workers);
}

// Slots of the link from one stage's lane to another's.
inline constexpr uint64_t LinkSlots(Stage producer, Stage consumer) {
  const bool of_one_lane = producer == Stage::kIngress || consumer == Stage::kIngress;
  return of_one_lane ? 2 * kWindowUnits : kSlots;
}
static_assert(LinkSlots(Stage::kIngress, Stage::kExecution) <= kSlots);

// The largest pack: a request's or an answer's bytes and what describes them.
inline size_t MaxBlockBytes(const Config& config) {
  return PackWriter::BytesBound(kMaxPackTensors, config.max_request_bytes);
}
inline size_t WorkerWindowBytes(const Config& config) { return 2 * MaxBlockBytes(config); }
inline size_t IngressWindowBytes(const Config& config) { return 8 * MaxBlockBytes(config); }

inline ArenaShape WorkerArenaShape(const Config& config) {
  return ArenaShape::For(IngressLanes(config), kWindowUnits, WorkerWindowBytes(config),
                         MaxBlockBytes(config));
}
inline ArenaShape IngressArenaShape(const Config& config) {
  return ArenaShape::For(1, config.max_in_flight, IngressWindowBytes(config),
                         MaxBlockBytes(config));
}

}  // namespace millrace
