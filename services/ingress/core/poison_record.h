// What is kept of a request that was given up as poison: enough to find it in a client's log, and
// nothing of what it said.
//
// Purpose: `millrace quarantine`. Who may call: the ingress lane makes it; the record is anybody's.
//   Invariants: 1. no tensor's values, no key, no text of the client: its id is a number
//   (common/client_id.h). Nothing fails.
#pragma once

#include <stdint.h>

#include <string>
#include <vector>

#include "common/datatype.h"
#include "services/ingress/core/suspicion.h"

namespace millrace {

struct PoisonRecord {
  struct Tensor {
    DataType datatype = DataType::kInvalid;
    uint32_t columns = 0;
    uint64_t bytes = 0;
  };
  int64_t wall_ms = 0;  // since the epoch
  std::string model;
  std::string version;
  uint32_t route = 0;
  uint64_t client_id_hash = 0;  // 0: it had none
  uint32_t rows = 0;
  std::vector<Tensor> tensors;
  std::vector<WorkerDeath> deaths;
};

}  // namespace millrace
