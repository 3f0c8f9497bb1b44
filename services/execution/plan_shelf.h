// The plans of the catalogs in use, each open on the CPU and, where it is worth it, on the device.
//
// Purpose: all of execution's work that is not on the path of requests: the device is opened, plans
//   are opened and measured, peers' arenas are registered, and the supervisor is told of the
//   choice.
// Who may call: the control thread; a Plan's mutable part is the lane's.
// Ownership: keeps the plans of the last kKept catalogs, and once one is settled of none before it,
//   so that what the lane lets go is freed here, and a plan that stays in the catalog stays open.
//   The device lives as long as the process.
// Invariants:
//   1. A machine without a device, or whose device cannot take a plan, serves it from the CPU, and
//      the supervisor is told why in one sentence.
//   2. A plan that is open has run its model's golden row once, where it has one.
//   3. From the second catalog on the thread gives way to the lane (services/runtime/background.h):
//   a
//      batch that comes while a plan is opened has the core within 0.1 ms.
//   4. A lost device ends the process at once with kExitDeviceLost, here as on the lane.
//   5. Plans on the device are together within execution.device_budget_mb; one that does not fit is
//      served from the CPU.
// Fails: Start with FailedPrecondition where `execution.device: cuda` has no device; Take with
//   InvalidArgument for a plan that does not check.
#pragma once

#include <boost/interprocess/mapped_region.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/device/dispatch.h"
#include "kernels/device/loader.h"
#include "services/runtime/route_table.h"
#include "services/runtime/worker_process.h"

namespace millrace {

struct Plan {
  boost::interprocess::mapped_region image;
  std::unique_ptr<DispatchKernel> kernel;  // ends before the image
  size_t request_rows = 0;                 // that one request may hold
  size_t batch_rows = 0;                   // that several requests are put together to
  absl::Span<std::byte> scratch;           // for the larger of the two
  std::vector<std::byte> memory;           // of scratch
  double ns_per_row = 0;                   // moving average; the lane's
  uint64_t device_bytes = 0;               // held on the device
};

class PlanShelf {
 public:
  using Routes = RouteTable<Plan>::Routes;

  explicit PlanShelf(const KernelBackend* cpu) : cpu_(cpu) {}

  absl::Status Start(const Config& config, bool without_device,
                     std::function<void(FromProcess)> tell);
  absl::StatusOr<Routes> Take(const CatalogWithPlans& catalog);
  // Plans that only catalogs before this one have are closed.
  void KeepOnly(uint64_t generation);
  void Register(PeerLane* peer);

 private:
  static constexpr size_t kKept = 3;  // two in use, one that the lane is about to let go

  absl::StatusOr<std::shared_ptr<Plan>> Open(const Model& model, const Fd& image,
                                             int64_t measure_ns);
  // What the plan's device kernel is; none, with the reason in `choice`.
  std::unique_ptr<Kernel> OpenOnDevice(absl::Span<const std::byte> image, size_t max_rows,
                                       KernelChoice* choice) const;
  // Of every plan that is open; nothing: there is no limit.
  std::optional<uint64_t> DeviceBytesLeft() const;
  absl::Status Choose(absl::Span<const std::byte> image, size_t max_rows, int64_t measure_ns,
                      DispatchKernel* kernel) const;
  void Tell(const Plan& plan, KernelChoice choice) const;

  const KernelBackend* const cpu_;
  Config config_;
  Device device_;
  std::function<void(FromProcess)> tell_;
  std::deque<std::pair<uint64_t, Routes>> kept_;  // by generation
  std::vector<std::weak_ptr<Plan>> open_;
  bool told_of_copies_ = false;
  bool gives_way_ = false;
};

// The device failed for good: logs `why`, says so in the page and ends the process.
[[noreturn]] void EndLostDevice(const absl::Status& why);

}  // namespace millrace
