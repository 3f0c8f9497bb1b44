// How large a request of a model can be, from its signature: what is larger is refused unread.
//
// Purpose: HTTP knows the model by the path and refuses by the header; gRPC knows it only by the
//   message, so there the largest that is live counts. Who may call: a lane's thread;
//   LargestMessage is one lane's. Ownership: none; a catalog is not kept alive.
// What is counted: max_rows times the elements of a row, each as wide as the form may make it, and
//   room for all else (names, shapes, parameters, an id). An input of strings has no width: then,
//   and above it, the server's own limit counts.
// Invariants: 1. at most `most`, the server's limit. 2. A request whose inputs fit the signature is
//   never above, however its client writes numbers in 32 bytes or fewer, separators and
//   column names (for /v1) included.
// Nothing fails.
#pragma once

#include <stddef.h>

#include <memory>

#include "ipc/catalog.pb.h"

namespace millrace {

// Below it no request is looked up: it is less than the room for all else.
inline constexpr size_t kSmallRequestBytes = 64 << 10;

// The body of an HTTP request, unpacked: JSON or binary.
size_t MostBodyBytes(const Model& model, size_t most);

// A ModelInferRequest of a live model, the largest of them.
class LargestMessage {
 public:
  explicit LargestMessage(size_t most) : most_(most) {}
  // `catalog` null: nothing is known.
  size_t Bytes(const std::shared_ptr<const Catalog>& catalog);

 private:
  const size_t most_;
  std::weak_ptr<const Catalog> of_;  // that `bytes_` was reckoned from
  size_t bytes_ = 0;
};

}  // namespace millrace
