#include "kernels/cpu/cpu_kernel.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>

#include "common/check.h"
#include "kernels/cpu/prepare.h"
#include "kernels/plan/tree_plan.h"
#include "kernels/reference/evaluate.h"
#include "kernels/shape.h"

namespace millrace {
namespace {

class CpuKernel final : public Kernel {
 public:
  CpuKernel(const TreePlan& plan, const cpu::Level& level)
      : plan_(plan), shape_(ShapeOf(plan)), forest_(plan), level_(level) {}

  const KernelShape& shape() const override { return shape_; }

  // The same for every batch: rows are run in blocks. Margins that nobody asked for come first.
  size_t ScratchBytes(size_t) const override {
    return MarginBytes() + cpu::ScratchBytes(forest_.tables());
  }

  size_t PrivateBytes() const {
    return sizeof *this - sizeof forest_ + forest_.bytes() + ScratchBytes(0);
  }

  absl::Status Run(const KernelBatch& batch) const override {
    MR_CHECK(shape_.Accepts(batch.input_type), "the caller checks the input's type");
    MR_CHECK(batch.scratch.size() >= ScratchBytes(0), "scratch is sized in advance");
    Block block;
    for (const KernelPiece& piece : batch.pieces) {
      for (size_t row = 0; row < piece.rows;) {
        row += Take(batch, piece, row, &block);
        if (block.rows == cpu::kBlockRows || block.run_count == kMaxRuns) RunBlock(batch, &block);
      }
    }
    RunBlock(batch, &block);
    return absl::OkStatus();
  }

 private:
  // Rows of one piece that stand in one block.
  struct RunOfRows {
    const void* margins;
    void* predictions;  // or null
    size_t rows;
  };
  static constexpr size_t kMaxRuns = cpu::kBlockRows;

  struct Block {
    const void* in[cpu::kBlockRows];
    void* out[cpu::kBlockRows];
    size_t rows = 0;
    RunOfRows runs[kMaxRuns];
    size_t run_count = 0;
  };

  size_t MarginRowBytes() const { return shape_.groups * DataTypeSize(shape_.margin_type); }
  size_t MarginBytes() const { return (cpu::kBlockRows * MarginRowBytes() + 63) / 64 * 64; }

  // Puts rows of the piece, from `first` on, into the block; how many there was room for.
  size_t Take(const KernelBatch& batch, const KernelPiece& piece, size_t first,
              Block* block) const {
    const size_t count = std::min(piece.rows - first, cpu::kBlockRows - block->rows);
    const size_t row_bytes = shape_.features * DataTypeSize(batch.input_type);
    auto* margins = piece.margins != nullptr
                        ? static_cast<std::byte*>(piece.margins) + first * MarginRowBytes()
                        : batch.scratch.data() + block->rows * MarginRowBytes();
    for (size_t i = 0; i < count; ++i) {
      block->in[block->rows + i] =
          static_cast<const std::byte*>(piece.input) + (first + i) * row_bytes;
      block->out[block->rows + i] = margins + i * MarginRowBytes();
    }
    auto* predictions = static_cast<std::byte*>(piece.predictions);
    if (predictions != nullptr) {
      predictions += first * shape_.prediction_columns * DataTypeSize(shape_.prediction_type);
    }
    block->runs[block->run_count++] = {margins, predictions, count};
    block->rows += count;
    return count;
  }

  void RunBlock(const KernelBatch& batch, Block* block) const {
    if (block->rows == 0) return;
    level_.margins(forest_.tables(), batch.input_type == DataType::kFp64, block->in, block->out,
                   block->rows, reinterpret_cast<uint8_t*>(batch.scratch.data() + MarginBytes()));
    for (size_t i = 0; i < block->run_count; ++i) {
      const RunOfRows& run = block->runs[i];
      if (run.predictions == nullptr) continue;
      reference::Predictions(plan_, run.margins, run.rows, run.predictions);
    }
    block->rows = block->run_count = 0;
  }

  const TreePlan plan_;
  const KernelShape shape_;
  const cpu::PreparedForest forest_;
  const cpu::Level& level_;
};

class Cpu final : public KernelBackend {
 public:
  explicit Cpu(const cpu::Level& level) : level_(level), name_(std::string("cpu-") + level.name) {}

  std::string_view name() const override { return name_; }

  absl::StatusOr<std::unique_ptr<Kernel>> OpenPlan(
      absl::Span<const std::byte> image) const override {
    absl::StatusOr<TreePlan> plan = TreePlan::Open(image);
    if (!plan.ok()) return plan.status();
    return std::make_unique<CpuKernel>(*plan, level_);
  }

 private:
  const cpu::Level& level_;
  const std::string name_;
};

}  // namespace

const KernelBackend& CpuBackendOf(const cpu::Level& level) {
  static const auto backends = [] {
    std::map<const cpu::Level*, std::unique_ptr<Cpu>> all;
    for (const cpu::Level* one : cpu::SupportedLevels()) all[one] = std::make_unique<Cpu>(*one);
    return all;
  }();
  const auto at = backends.find(&level);
  MR_CHECK(at != backends.end(), "this processor has the level");
  return *at->second;
}

size_t CpuPrivateBytes(const TreePlan& plan) {
  const CpuKernel kernel(plan, *cpu::SupportedLevels().front());
  return kernel.PrivateBytes();
}

const KernelBackend& CpuBackend() { return CpuBackendOf(*cpu::SupportedLevels().front()); }

}  // namespace millrace
