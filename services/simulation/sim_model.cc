#include "services/simulation/sim_model.h"

#include <string.h>

#include <bit>

#include "services/simulation/random.h"

namespace millrace::sim {
namespace {

constexpr uint64_t kMagic = 0x74736574656c7564ull;

struct PlanImage {
  uint64_t magic;
  uint64_t salt;
};

class SimKernel : public Kernel {
 public:
  SimKernel(RunHooks* hooks, uint64_t salt) : hooks_(hooks), salt_(salt) {
    shape_ = {1, 1, 1, DataType::kFp32, DataType::kFp32, false, "hash", {}};
  }
  const KernelShape& shape() const override { return shape_; }
  size_t ScratchBytes(size_t) const override { return 64; }

  absl::Status Run(const KernelBatch& batch) const override {
    bool poisoned = false;
    for (const KernelPiece& piece : batch.pieces) {
      for (size_t row = 0; row < piece.rows; ++row) poisoned |= IsPoison(At(piece.input, row));
    }
    hooks_->OnRun(batch.rows(), poisoned);
    for (const KernelPiece& piece : batch.pieces) {
      for (size_t row = 0; row < piece.rows; ++row) {
        const float answer = AnswerOf(salt_, At(piece.input, row));
        for (void* out : {piece.predictions, piece.margins}) {
          if (out != nullptr) memcpy(static_cast<float*>(out) + row, &answer, sizeof answer);
        }
      }
    }
    return absl::OkStatus();
  }

 private:
  static float At(const void* input, size_t row) {
    float x;
    memcpy(&x, static_cast<const float*>(input) + row, sizeof x);
    return x;
  }

  RunHooks* const hooks_;
  const uint64_t salt_;
  KernelShape shape_;
};

}  // namespace

float AnswerOf(uint64_t salt, float x) {
  const uint64_t hash = Mix(salt << 32 ^ std::bit_cast<uint32_t>(x));
  return static_cast<float>(hash >> 44) * 0x1p-20f;
}

std::string PlanBytes(uint64_t salt) {
  const PlanImage image = {kMagic, salt};
  return std::string(reinterpret_cast<const char*>(&image), sizeof image);
}

absl::StatusOr<std::unique_ptr<Kernel>> SimBackend::OpenPlan(
    absl::Span<const std::byte> plan) const {
  PlanImage image;
  if (plan.size() < sizeof image) return absl::InvalidArgumentError("a plan that is too short");
  memcpy(&image, plan.data(), sizeof image);
  if (image.magic != kMagic) return absl::InvalidArgumentError("not a plan of the simulation");
  return std::make_unique<SimKernel>(hooks_, image.salt);
}

}  // namespace millrace::sim
