// What Open of a model does; its runs are in model_run.cc.
#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/cuda/errors.h"
#include "kernels/cuda/model.h"

namespace millrace::cuda {
namespace {

constexpr size_t AlignUp(size_t value) {
  constexpr size_t kAlignment = ForestImage::kPartAlignment;
  return (value + kAlignment - 1) / kAlignment * kAlignment;
}

// Hands out places one behind the other.
class Ruler {
 public:
  size_t Take(size_t bytes) {
    const size_t at = end_;
    end_ = AlignUp(end_ + bytes);
    return at;
  }
  size_t end() const { return end_; }

 private:
  size_t end_ = 0;
};

}  // namespace

Model::Model(const DeviceOptions& options, const DeviceFacts& device, const HostRegistry& registry)
    : options_(options), device_(device), registry_(registry) {}

Model::~Model() {
  if (stream_ != nullptr) cudaStreamSynchronize(stream_);
  for (Bucket& bucket : buckets_) {
    for (cudaGraphExec_t graph : bucket.graphs) {
      if (graph != nullptr) cudaGraphExecDestroy(graph);
    }
  }
  if (event_ != nullptr) cudaEventDestroy(event_);
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
  if (pool_ != nullptr) cudaFree(pool_);
  if (pinned_ != nullptr) cudaFreeHost(pinned_);
  cudaGetLastError();  // what failed here is nobody else's error
}

DeviceCode Model::Open(const PlanView& plan, const DeviceOptions& options,
                       const DeviceFacts& device, const HostRegistry& registry,
                       std::unique_ptr<Model>* out, DeviceError* error) {
  std::unique_ptr<Model> model(new Model(options, device, registry));
  ForestImage image(plan);
  model->kind_ = {.xgboost = plan.family() == TreeFamily::kXgboost, .wide = plan.wide()};
  model->row_bytes_ = uint64_t{plan.features()} * sizeof(float);
  model->margin_row_bytes_ = uint64_t{plan.groups()} * image.facts().margin_bytes;
  // A linear leaf reads its row again, so the row comes to the device first.
  model->host_read_bytes_ = image.linear() ? 0 : options.in_place_bytes;
  DeviceCode code = model->ShapeBuckets(&image, error);
  if (code != DeviceCode::kOk) return code;
  model->Place(image);
  code = model->Allocate(image, error);
  if (code == DeviceCode::kOk) code = model->CaptureBuckets(image, error);
  if (code == DeviceCode::kOk) code = model->WarmUp(error);
  if (code == DeviceCode::kOk) *out = std::move(model);
  return code;
}

DeviceCode Model::ShapeBuckets(ForestImage* image, DeviceError* error) {
  const uint64_t most = std::bit_ceil(options_.max_rows);
  for (uint64_t rows = 1; rows <= most; rows *= 2) {
    Bucket bucket;
    bucket.rows = rows;
    const TileRules rules = ChooseRules(image->facts(), device_.limits, rows, options_.fast != 0);
    if (!FitTile(image->facts(), rules, device_.limits.shared_limit_bytes, &bucket.shape)) {
      return Fail(DeviceCode::kUnsupported, error,
                  "open: a block of this device has too little shared memory (%u bytes)",
                  device_.limits.shared_limit_bytes);
    }
    bucket.lists = image->AddLists(bucket.shape);
    buckets_.push_back(bucket);
  }
  return DeviceCode::kOk;
}

void Model::Place(const ForestImage& image) {
  const uint64_t most = buckets_.back().rows;
  size_t column_bytes = 0;
  size_t sum_bytes = 0;
  bool copies = false;
  for (const Bucket& bucket : buckets_) {
    copies = copies || Possible(Source::kCopied, bucket);
    if (!bucket.shape.shared_bytes_on) column_bytes = bucket.rows * bucket.shape.byte_stride;
    if (!bucket.shape.shared_sums_on) sum_bytes = bucket.rows * margin_row_bytes_;
  }
  Ruler pool;
  at_.image = pool.Take(image.bytes().size());
  at_.ticket = pool.Take(sizeof(uint32_t));
  at_.rows = pool.Take(copies ? most * row_bytes_ : 0);
  at_.column_bytes = pool.Take(column_bytes);
  at_.sums = pool.Take(sum_bytes);
  at_.end = pool.end();
  Ruler pinned;
  at_.header = pinned.Take(sizeof(BatchHeader));
  at_.done = pinned.Take(sizeof(uint64_t));
  at_.table = pinned.Take(most * sizeof(uint64_t));
  at_.pinned_rows = pinned.Take(most * row_bytes_);
  at_.margins = pinned.Take(most * margin_row_bytes_);
  at_.pinned_end = pinned.end();
}

DeviceCode Model::Allocate(const ForestImage& image, DeviceError* error) {
  MR_CUDA(cudaStreamCreateWithFlags, (&stream_, cudaStreamNonBlocking), error);
  MR_CUDA(cudaEventCreateWithFlags, (&event_, cudaEventDisableTiming | cudaEventBlockingSync),
          error);
  MR_CUDA(cudaHostAlloc, (&pinned_, at_.pinned_end, cudaHostAllocMapped | cudaHostAllocPortable),
          error);
  std::memset(pinned_, 0, at_.pinned_end);
  MR_CUDA(cudaHostGetDevicePointer, (&pinned_on_device_, pinned_, 0), error);
  MR_CUDA(cudaMalloc, (&pool_, at_.end), error);
  device_bytes_ = at_.end;
  const std::span<const std::byte> bytes = image.bytes();
  MR_CUDA(cudaMemsetAsync, (pool_ + at_.ticket, 0, at_.end - at_.ticket, stream_), error);
  MR_CUDA(cudaMemcpyAsync,
          (pool_ + at_.image, bytes.data(), bytes.size(), cudaMemcpyHostToDevice, stream_), error);
  MR_CUDA(cudaStreamSynchronize, (stream_), error);
  return DeviceCode::kOk;
}

// Whether some batch of the bucket comes so.
bool Model::Possible(Source source, const Bucket& bucket) const {
  const uint64_t least = (bucket.rows / 2 + 1) * row_bytes_;
  const uint64_t most = bucket.rows * row_bytes_;
  switch (source) {
    case Source::kPinned:
      return least <= host_read_bytes_;
    case Source::kInPlace:
      return least <= host_read_bytes_ && device_.reads_host_memory;
    case Source::kCopied:
      return most > host_read_bytes_;
  }
  return false;
}

BatchView Model::View(Source source) const {
  BatchView view = {};
  view.header = PinnedOnDevice<const BatchHeader>(at_.header);
  if (source == Source::kInPlace) view.row_table = PinnedOnDevice<const uint64_t>(at_.table);
  view.rows = source == Source::kCopied ? Pool<const float>(at_.rows)
                                        : PinnedOnDevice<const float>(at_.pinned_rows);
  view.margins = PinnedOnDevice<void>(at_.margins);
  view.column_bytes = Pool<uint8_t>(at_.column_bytes);
  view.sums = Pool<void>(at_.sums);
  view.ticket = Pool<uint32_t>(at_.ticket);
  view.done = PinnedOnDevice<uint64_t>(at_.done);
  return view;
}

DeviceCode Model::CaptureBuckets(const ForestImage& image, DeviceError* error) {
  const ForestView view = image.ViewAt(pool_ + at_.image);
  for (Bucket& bucket : buckets_) {
    ForestImage::SetLists(pool_ + at_.image, bucket.lists, &bucket.shape);
    const cudaError_t answer = AllowShape(kind_, bucket.shape, device_.limits.shared_limit_bytes);
    if (answer != cudaSuccess) return Classify(answer, "cudaFuncSetAttribute", error);
    for (const Source source : {Source::kPinned, Source::kInPlace, Source::kCopied}) {
      if (!Possible(source, bucket)) continue;
      const DeviceCode code = Capture(view, source, &bucket, error);
      if (code != DeviceCode::kOk) return code;
    }
  }
  return DeviceCode::kOk;
}

DeviceCode Model::Capture(const ForestView& view, Source source, Bucket* bucket,
                          DeviceError* error) {
  MR_CUDA(cudaStreamBeginCapture, (stream_, cudaStreamCaptureModeThreadLocal), error);
  const auto blocks = static_cast<uint32_t>(bucket->rows >> bucket->shape.row_bits);
  cudaGetLastError();  // an older call's answer would be taken for the launch's
  const cudaError_t launched =
      LaunchForest(kind_, view, View(source), bucket->shape, blocks, stream_);
  cudaGraph_t graph = nullptr;
  // Before anything is classified: a capture that goes on would make every other call fail.
  const cudaError_t ended = cudaStreamEndCapture(stream_, &graph);
  // One that could not be ended keeps everything else from being given back.
  if (ended != cudaSuccess) cudaStreamEndCapture(stream_, &graph);
  DeviceCode code = DeviceCode::kOk;
  if (launched != cudaSuccess) {
    code = Classify(launched, "the capture of the forest kernel", error);
  } else if (ended != cudaSuccess) {
    code = Classify(ended, "cudaStreamEndCapture", error);
  } else {
    cudaGraphExec_t* const executable = &bucket->graphs[static_cast<size_t>(source)];
    const cudaError_t made = cudaGraphInstantiate(executable, graph, 0);
    if (made != cudaSuccess) code = Classify(made, "cudaGraphInstantiate", error);
  }
  if (graph != nullptr) cudaGraphDestroy(graph);
  return code;
}

// One row of zeros through every graph: what CUDA loads or allocates late, it does now.
DeviceCode Model::WarmUp(DeviceError* error) {
  auto* header = Pinned<BatchHeader>(at_.header);
  header->rows = 1;
  const auto place = reinterpret_cast<uint64_t>(PinnedOnDevice<void>(at_.pinned_rows));
  std::fill_n(Pinned<uint64_t>(at_.table), buckets_.back().rows, place);
  for (const Bucket& bucket : buckets_) {
    for (cudaGraphExec_t graph : bucket.graphs) {
      if (graph == nullptr) continue;
      header->sequence = ++sequence_;
      MR_CUDA(cudaGraphUpload, (graph, stream_), error);
      MR_CUDA(cudaGraphLaunch, (graph, stream_), error);
      MR_CUDA(cudaStreamSynchronize, (stream_), error);
      if (!Done(sequence_)) {
        return Fail(DeviceCode::kUnsupported, error, "open: the forest kernel ran and did not end");
      }
    }
  }
  return DeviceCode::kOk;
}

}  // namespace millrace::cuda
