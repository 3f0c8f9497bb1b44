#include "kernels/cuda/testing/forest_runner.h"

#include <algorithm>
#include <cstring>

#include "common/check.h"
#include "kernels/cuda/forest_image.h"
#include "kernels/cuda/launch.h"
#include "kernels/reference/evaluate.h"
#include "kernels/simt/cuda.h"

namespace millrace::cuda {
namespace {

void Must(cudaError_t answer) { MR_CHECK(answer == cudaSuccess, "the fake device is well"); }

// Device memory for as long as a run.
class Buffer {
 public:
  explicit Buffer(size_t bytes) { Must(cudaMalloc(&pointer_, bytes + 1)); }
  ~Buffer() { cudaFree(pointer_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  template <typename T>
  T* As() const {
    return reinterpret_cast<T*>(pointer_);
  }
  void Set(const void* from, size_t bytes) const {
    Must(cudaMemcpy(pointer_, from, bytes, cudaMemcpyHostToDevice));
  }

 private:
  std::byte* pointer_ = nullptr;
};

// The same trees, the last one first: what a sum in another order gives.
std::vector<std::byte> ReversedTrees(const ForestImage& image) {
  std::vector<std::byte> bytes(image.bytes().begin(), image.bytes().end());
  const ForestView view = image.ViewAt(bytes.data());
  auto* trees = const_cast<DeviceTree*>(view.trees);
  std::reverse(trees, trees + image.facts().trees);
  return bytes;
}

}  // namespace

std::vector<std::byte> RunForced(const PlanView& plan, const std::vector<float>& rows, size_t n,
                                 const ForcedRun& run) {
  ForestImage image(plan);
  TileShape shape;
  MR_CHECK(FitTile(image.facts(), run.rules, run.shared_limit_bytes, &shape), "the shape fits");
  const ForestImage::Lists lists = image.AddLists(shape);
  // One block more than the rows need, as a bucket may have: it has nothing to answer.
  const auto blocks =
      static_cast<uint32_t>(((n + run.rules.rows - 1) >> shape.row_bits) + (run.row_table ? 0 : 1));
  const size_t all_rows = size_t{blocks} << shape.row_bits;
  const size_t margin_bytes = size_t{plan.groups()} * image.facts().margin_bytes;

  const Buffer forest(image.bytes().size());
  forest.Set(run.reverse_trees ? ReversedTrees(image).data() : image.bytes().data(),
             image.bytes().size());
  ForestImage::SetLists(forest.As<std::byte>(), lists, &shape);
  std::vector<float> padded(all_rows * plan.features(), 0.0f);
  std::copy_n(rows.begin(), n * plan.features(), padded.begin());
  const Buffer input(padded.size() * sizeof(float));
  input.Set(padded.data(), padded.size() * sizeof(float));
  std::vector<uint64_t> table(all_rows);
  for (size_t i = 0; i < all_rows; ++i) {
    table[i] = reinterpret_cast<uint64_t>(input.As<float>() + (all_rows - 1 - i) * plan.features());
  }
  const Buffer row_table(all_rows * sizeof(uint64_t));
  row_table.Set(table.data(), all_rows * sizeof(uint64_t));

  // done, ticket, header
  constexpr uint64_t kSequence = 77;
  const BatchHeader header = {kSequence, static_cast<uint32_t>(run.row_table ? all_rows : n), 0};
  const Buffer words(256);
  Must(cudaMemset(words.As<void>(), 0, 256));
  Must(cudaMemcpy(words.As<char>() + 128, &header, sizeof header, cudaMemcpyHostToDevice));
  const Buffer margins(all_rows * margin_bytes);
  Must(cudaMemset(margins.As<void>(), 0xcd, all_rows * margin_bytes));
  const Buffer column_bytes(all_rows * shape.byte_stride);
  const Buffer sums(all_rows * margin_bytes);

  BatchView batch = {};
  batch.header = reinterpret_cast<const BatchHeader*>(words.As<char>() + 128);
  batch.row_table = run.row_table ? row_table.As<uint64_t>() : nullptr;
  batch.rows = input.As<float>();
  batch.margins = margins.As<void>();
  batch.column_bytes = column_bytes.As<uint8_t>();
  batch.sums = sums.As<void>();
  batch.ticket = reinterpret_cast<uint32_t*>(words.As<char>() + 64);
  batch.done = words.As<uint64_t>();
  const ForestKind kind = {.xgboost = plan.family() == TreeFamily::kXgboost, .wide = plan.wide()};
  Must(AllowShape(kind, shape, run.shared_limit_bytes));
  Must(LaunchForest(kind, image.ViewAt(forest.As<std::byte>()), batch, shape, blocks, nullptr));
  const cudaError_t ran = cudaDeviceSynchronize();
  if (ran != cudaSuccess) return {};  // the shim has reported why

  uint64_t done = 0;
  Must(cudaMemcpy(&done, words.As<void>(), sizeof done, cudaMemcpyDeviceToHost));
  MR_CHECK(done == kSequence, "a run stores its sequence");
  std::vector<std::byte> all(all_rows * margin_bytes);
  Must(cudaMemcpy(all.data(), margins.As<void>(), all.size(), cudaMemcpyDeviceToHost));
  if (run.row_table) {  // back in the order of the rows
    std::vector<std::byte> turned(all.size());
    for (size_t i = 0; i < all_rows; ++i) {
      std::memcpy(&turned[i * margin_bytes], &all[(all_rows - 1 - i) * margin_bytes], margin_bytes);
    }
    all = std::move(turned);
  } else {  // rows that nobody asked for were not written
    for (size_t i = n * margin_bytes; i < all.size(); ++i) {
      MR_CHECK(all[i] == std::byte{0xcd}, "only the header's rows are answered");
    }
  }
  all.resize(n * margin_bytes);
  return all;
}

std::vector<std::byte> ReferenceMargins(const PlanView& plan, const std::vector<float>& rows,
                                        size_t n) {
  std::vector<std::byte> margins(n * plan.groups() * DataTypeSize(plan.margin_type()));
  reference::Margins(plan, DataType::kFp32, rows.data(), n, margins.data());
  return margins;
}

}  // namespace millrace::cuda
