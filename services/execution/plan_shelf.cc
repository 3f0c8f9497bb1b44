#include "services/execution/plan_shelf.h"

#include <malloc.h>
#include <string.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/log.h"
#include "ipc/memfd.h"
#include "kernels/device/device_kernel.h"
#include "services/execution/golden_run.h"
#include "services/runtime/background.h"
#include "services/runtime/liveness.h"

namespace millrace {
namespace {

constexpr size_t kMaxPlanBytes = size_t{4} << 30;
constexpr size_t kScratchAlign = 64;
// Inputs up to this are read by the device where they lie; larger ones are worth a copy.
constexpr uint64_t kInPlaceBytes = 1 << 20;
// For measuring: all plans of a catalog together, and one.
constexpr int64_t kMeasureAllNs = 20 * kNanosPerSecond;
constexpr int64_t kMeasureOneNs = kNanosPerSecond;
constexpr uint32_t kRowSeed = 1;
constexpr size_t kMaxSentence = 512;

absl::Span<const std::byte> BytesOf(const boost::interprocess::mapped_region& map) {
  return {static_cast<const std::byte*>(map.get_address()), map.get_size()};
}

// As a message to the supervisor may hold it: a driver's words or a path need not be UTF-8.
std::string Sentence(absl::string_view text) {
  std::string sentence(text.substr(0, kMaxSentence));
  for (char& c : sentence) {
    if (c < ' ' || c > '~') c = '?';
  }
  return sentence;
}

Device FindDevice(const Config& config, bool without_device) {
  Device none;
  if (config.device == "cpu") {
    none.sentence = "execution.device is cpu";
    return none;
  }
  if (without_device) {
    none.state = DeviceState::kFailed;
    none.sentence = "the device was lost several times in a row";
    return none;
  }
  return OpenDevice(config.device_library.empty() ? DefaultDevicePath() : config.device_library,
                    static_cast<int>(config.device_index));
}

// Rows in memory such as requests come in: a sealed memfd, mapped for reading, known to the device.
class MeasureRows {
 public:
  MeasureRows(const DevicePlugin* plugin, const std::vector<float>& rows) : plugin_(plugin) {
    auto fd = MakeSealedCopy("millrace-measure", rows.data(), rows.size() * sizeof(float));
    auto map = fd.ok() ? MapImmutable(fd->get(), rows.size() * sizeof(float)) : fd.status();
    if (!map.ok()) {
      copy_ = rows;
      rows_ = copy_;
      return;
    }
    map_ = std::move(*map);
    rows_ = {static_cast<const float*>(map_.get_address()), rows.size()};
    DeviceError error = {};
    const DeviceCode code = plugin_->register_memory(map_.get_address(), map_.get_size(), &error);
    if (code == DeviceCode::kLost) EndLostDevice(absl::InternalError(error.sentence));
    registered_ = code == DeviceCode::kOk;
  }
  ~MeasureRows() {
    if (registered_) plugin_->unregister_memory(map_.get_address());
  }
  MeasureRows(const MeasureRows&) = delete;

  absl::Span<const float> rows() const { return rows_; }

 private:
  const DevicePlugin* plugin_;
  boost::interprocess::mapped_region map_;
  std::vector<float> copy_;  // where there is no memfd to be had
  absl::Span<const float> rows_;
  bool registered_ = false;
};

}  // namespace

void EndLostDevice(const absl::Status& why) {
  Log(LogLevel::kError, "device_lost", {{"why", std::string(why.message())}});
  EndDying(kReasonDeviceLost, kExitDeviceLost);
}

absl::Status PlanShelf::Start(const Config& config, bool without_device,
                              std::function<void(FromProcess)> tell) {
  config_ = config;
  tell_ = std::move(tell);
  device_ = FindDevice(config, without_device);
  const std::string why_not =
      device_.ready() ? "" : absl::StrCat(Sentence(device_.sentence), "; serving from the CPU");
  Log(LogLevel::kInfo, "kernels",
      {{"cpu", cpu_->name()},
       {"device", device_.ready() ? device_.sentence : "none"},
       {"state", DeviceStateName(device_.state)},
       {"why", why_not}});
  if (config.device == "cuda" && !device_.ready() && !without_device) {
    return absl::FailedPreconditionError(
        absl::StrCat("execution.device is cuda: ", device_.sentence));
  }
  FromProcess message;
  DeviceReport* report = message.mutable_device_report();
  report->set_cpu(std::string(cpu_->name()));
  report->set_state(std::string(DeviceStateName(device_.state)));
  if (device_.ready()) report->set_device(Sentence(device_.sentence));
  report->set_why_not(why_not);
  tell_(std::move(message));
  return absl::OkStatus();
}

absl::StatusOr<PlanShelf::Routes> PlanShelf::Take(const CatalogWithPlans& catalog) {
  // The first catalog is taken up before there are requests.
  if (!kept_.empty() && !std::exchange(gives_way_, true)) GiveWay();
  Routes routes;
  std::vector<const Model*> fresh;
  for (const Model& model : catalog.catalog->models()) {
    if (model.members_size() > 0) continue;
    std::shared_ptr<Plan> known;
    for (const auto& [generation, older] : kept_) {
      auto found = older.find(model.route());
      if (found != older.end()) known = found->second;
    }
    if (known == nullptr) {
      fresh.push_back(&model);
    } else {
      routes.emplace(model.route(), std::move(known));
    }
  }
  const auto share = kMeasureAllNs / static_cast<int64_t>(std::max<size_t>(fresh.size(), 1));
  for (const Model* model : fresh) {
    auto image = catalog.plans.find(model->route());
    if (image == catalog.plans.end()) {
      return absl::InvalidArgumentError(absl::StrCat("model '", model->name(), "' has no plan"));
    }
    auto plan = Open(*model, image->second, std::min(share, kMeasureOneNs));
    if (!plan.ok()) {
      return absl::Status(plan.status().code(),
                          absl::StrCat("model '", model->name(), "': ", plan.status().message()));
    }
    routes.emplace(model->route(), std::move(*plan));
  }
  kept_.emplace_back(catalog.catalog->generation(), routes);
  if (kept_.size() > kKept) kept_.pop_front();
  LetOthersRun();
  malloc_trim(0);  // what was let go would be kept in pieces, for the next plan not to fit in
  return routes;
}

void PlanShelf::KeepOnly(uint64_t generation) {
  std::erase_if(kept_, [&](const auto& kept) { return kept.first < generation; });
  malloc_trim(0);
}

std::optional<uint64_t> PlanShelf::DeviceBytesLeft() const {
  if (config_.execution_device_budget_mb == 0) return std::nullopt;
  uint64_t used = 0;
  for (const std::weak_ptr<Plan>& open : open_) {
    if (const std::shared_ptr<Plan> plan = open.lock()) used += plan->device_bytes;
  }
  const uint64_t budget = static_cast<uint64_t>(config_.execution_device_budget_mb) << 20;
  return budget - std::min(budget, used);
}

absl::StatusOr<std::shared_ptr<Plan>> PlanShelf::Open(const Model& model, const Fd& image,
                                                      int64_t measure_ns) {
  auto map = MapImmutable(image.get(), kMaxPlanBytes);
  if (!map.ok()) return map.status();
  LetOthersRun();  // here and below: each step takes some 100 us
  auto plan = std::make_shared<Plan>();
  plan->image = std::move(*map);
  const absl::Span<const std::byte> bytes = BytesOf(plan->image);
  absl::StatusOr<std::unique_ptr<Kernel>> cpu = cpu_->OpenPlan(bytes);
  if (!cpu.ok()) return cpu.status();
  LetOthersRun();
  plan->request_rows = model.max_rows();
  plan->batch_rows =
      std::min<size_t>(config_.max_batch_rows, kMaxExecuting * size_t{model.max_rows()});
  const size_t max_rows = std::max(plan->request_rows, plan->batch_rows);
  KernelChoice choice;
  choice.set_route(model.route());
  std::unique_ptr<Kernel> device = OpenOnDevice(bytes, max_rows, &choice);
  const bool on_device = device != nullptr;
  plan->kernel = std::make_unique<DispatchKernel>(std::move(*cpu), std::move(device));
  if (on_device) {
    const absl::Status chosen = Choose(bytes, max_rows, measure_ns, plan->kernel.get());
    if (absl::IsInternal(chosen)) EndLostDevice(chosen);
    if (!chosen.ok()) {
      cpu = cpu_->OpenPlan(bytes);
      if (!cpu.ok()) return cpu.status();
      plan->kernel = std::make_unique<DispatchKernel>(std::move(*cpu), nullptr);
      choice.set_why_not(
          Sentence(absl::StrCat("the device failed when it was measured: ", chosen.ToString())));
      choice.set_device_bytes(0);
    }
  }
  plan->memory.resize(plan->kernel->ScratchBytes(max_rows) + kScratchAlign);
  const auto base = reinterpret_cast<uintptr_t>(plan->memory.data());
  plan->scratch = absl::MakeSpan(plan->memory)
                      .subspan((kScratchAlign - base % kScratchAlign) % kScratchAlign,
                               plan->memory.size() - kScratchAlign);
  LetOthersRun();
  const GoldenRun golden = RunGoldenRow(model, *plan->kernel, plan->scratch);
  if (golden == GoldenRun::kWrong) {
    Log(LogLevel::kError, "golden_wrong", {{"model", model.name()}, {"version", model.version()}});
  }
  LetOthersRun();
  choice.set_golden(static_cast<uint32_t>(golden));
  plan->device_bytes = choice.device_bytes();
  std::erase_if(open_, [](const auto& open) { return open.expired(); });
  open_.push_back(plan);
  Tell(*plan, std::move(choice));
  return plan;
}

std::unique_ptr<Kernel> PlanShelf::OpenOnDevice(absl::Span<const std::byte> image, size_t max_rows,
                                                KernelChoice* choice) const {
  if (!device_.ready()) return nullptr;
  DeviceOptions options = {};
  options.device = static_cast<int32_t>(config_.device_index);
  options.fast = config_.fast_sums == "true" ? 1 : 0;
  options.max_rows = max_rows;
  options.in_place_bytes = kInPlaceBytes;
  const std::optional<uint64_t> left = DeviceBytesLeft();
  uint64_t device_bytes = 0;
  auto kernel = DeviceBackend(device_.plugin, options).OpenPlan(image, &device_bytes);
  // What it needs there is known when it is open; it is closed again before it runs.
  if (kernel.ok() && left.has_value() && *left < device_bytes) {
    choice->set_why_not(Sentence(absl::StrCat("it needs ", device_bytes,
                                              " bytes on the device, and of "
                                              "execution.device_budget_mb ",
                                              *left, " are left")));
    return nullptr;
  }
  if (kernel.ok()) {
    choice->set_device_bytes(device_bytes);
    return std::move(*kernel);
  }
  if (absl::IsInternal(kernel.status())) EndLostDevice(kernel.status());
  choice->set_why_not(
      Sentence(absl::StrCat("the device does not take it: ", kernel.status().ToString())));
  return nullptr;
}

absl::Status PlanShelf::Choose(absl::Span<const std::byte> image, size_t max_rows,
                               int64_t measure_ns, DispatchKernel* kernel) const {
  if (config_.device_from_rows > 0) {
    kernel->ChooseFrom(config_.device_from_rows);
    return absl::OkStatus();
  }
  MeasureLimits limits;
  limits.total_ns = measure_ns;
  limits.exact = config_.fast_sums != "true";
  limits.now_ns = MonotonicNanos;
  const size_t row_bytes = kernel->shape().features * sizeof(float);
  const size_t count =
      std::clamp<size_t>(limits.input_bytes / std::max<size_t>(row_bytes, 1), 1, max_rows);
  absl::StatusOr<std::vector<float>> rows = PlausibleRows(image, count, kRowSeed);
  if (!rows.ok()) return rows.status();
  const MeasureRows input(device_.plugin, *rows);
  return kernel->ChooseByMeasure(max_rows, input.rows(), limits);
}

void PlanShelf::Tell(const Plan& plan, KernelChoice choice) const {
  const uint64_t from = plan.kernel->device_from_rows();
  choice.set_device_from_rows(from == DispatchKernel::kNever ? 0 : from);
  for (const Bucket& bucket : plan.kernel->buckets()) {
    KernelChoice::Bucket* told = choice.add_buckets();
    told->set_rows(bucket.rows);
    told->set_cpu_ns(bucket.cpu_ns);
    told->set_device_ns(bucket.device_ns);
    told->set_cpu_estimated(bucket.cpu_estimated);
    told->set_device_estimated(bucket.device_estimated);
  }
  FromProcess message;
  *message.mutable_kernel_choice() = std::move(choice);
  tell_(std::move(message));
}

void PlanShelf::Register(PeerLane* peer) {
  if (!device_.ready()) return;
  const absl::Span<const std::byte> arena = peer->arena.all();
  DeviceError error = {};
  const DeviceCode code = device_.plugin->register_memory(arena.data(), arena.size(), &error);
  if (code == DeviceCode::kLost) EndLostDevice(absl::InternalError(error.sentence));
  if (code == DeviceCode::kOk) {
    peer->attached = std::shared_ptr<const void>(
        arena.data(),
        [plugin = device_.plugin](const void* data) { plugin->unregister_memory(data); });
    return;
  }
  if (std::exchange(told_of_copies_, true)) return;
  error.sentence[sizeof error.sentence - 1] = 0;
  Log(LogLevel::kInfo, "inputs_are_copied", {{"why", std::string(error.sentence)}});
}

}  // namespace millrace
