// A client's answer and that of a version in its shadow, held until both are there and compared.
//
// Purpose: what a shadow would have answered is counted at its version, and seen by nobody.
// Who may call: the ingress lane. Ownership: keeps copies of both answers' outputs, in memory that
//   is used again; the counters are the page's.
// Invariants: 1. At most kMost pairs are open. 2. A pair is open until both sides are there; then
// it
//   counts once and is free. 3. Of an answer at most kMostBytes are kept; a larger one is counted
//   as sent, and compared with nothing.
// Nothing fails.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string>
#include <vector>

#include "ipc/stats_words.h"
#include "services/ingress/core/compare.h"
#include "services/ingress/frontend.h"

namespace millrace {

class ShadowPairs {
 public:
  static constexpr size_t kMost = 16;
  static constexpr size_t kMostBytes = 64 << 10;
  static constexpr uint8_t kNone = 255;

  ShadowPairs();
  ShadowPairs(const ShadowPairs&) = delete;
  ShadowPairs& operator=(const ShadowPairs&) = delete;

  bool full() const { return free_.empty(); }
  size_t open() const { return kMost - free_.size(); }
  // A pair whose shadow will be counted at `stats`; not when full. Its shadow's request is then
  // made, and Sent tells whether it was (and counts it); else the pair is free again.
  uint8_t Begin(ModelStatsWords* stats, ScoreScale scale);
  bool Sent(uint8_t pair);
  // For the shadow's request.
  Completion* ShadowSide(uint8_t pair) { return &sides_[pair]; }
  // The client has this answer, or none. `answer` null: it was answered by something else.
  void ClientSide(uint8_t pair, const InferAnswer* answer);

 private:
  struct Kept {
    bool there = false, ok = false, whole = false;
    struct Tensor {
      std::string name;
      DataType datatype = DataType::kInvalid;
      std::vector<int64_t> shape;
      size_t offset = 0, bytes = 0;
    };
    std::vector<Tensor> tensors;
    size_t count = 0;  // of them in use
    std::string data;
  };
  class Side final : public Completion {
   public:
    void Done(const InferAnswer& answer) override;
    ShadowPairs* owner = nullptr;
    uint8_t pair = 0;
  };
  struct Pair {
    ModelStatsWords* stats = nullptr;
    ScoreScale scale = ScoreScale::kGuess;
    Kept client, shadow;
  };

  static void Keep(const InferAnswer* answer, Kept* kept);
  static void ViewsOf(const Kept& kept, std::vector<TensorView>* views);
  void StepPair(uint8_t pair);

  std::vector<Pair> pairs_;
  std::vector<Side> sides_;
  std::vector<uint8_t> free_;
  std::vector<TensorView> client_views_, shadow_views_;  // scratch
};

}  // namespace millrace
