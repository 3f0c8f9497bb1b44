// Plans on a device, through its plug-in.
//
// Purpose: margins come from the device, predictions from the margins on the host, by the
//   reference's own function: so outputs do not depend on the backend.
// Who may call: as kernel.h says. Runs of one kernel wait for each other: a device model takes one
//   at a time. Ownership: the kernel owns the device model; the plug-in lives as long as the
//   process.
// Invariants:
//   1. Only FP32 is accepted: what else the plan takes is the CPU kernel's.
//   2. Run() allocates nothing, except to tell of a lost device.
// Fails: OpenPlan with InvalidArgument (a plan that does not check), ResourceExhausted (device
//   memory), Unimplemented (this plan is not for this device), Internal (the device is lost), each
//   with the plug-in's sentence. Run with ResourceExhausted, Unimplemented (run it elsewhere; both
//   without a sentence), Internal.
#pragma once

#include <memory>

#include "kernels/device/plugin.h"
#include "kernels/kernel.h"

namespace millrace {

class DeviceBackend final : public KernelBackend {
 public:
  DeviceBackend(const DevicePlugin* plugin, const DeviceOptions& options)
      : plugin_(plugin), options_(options) {}

  std::string_view name() const override { return "cuda"; }
  absl::StatusOr<std::unique_ptr<Kernel>> OpenPlan(absl::Span<const std::byte> plan) const override;
  // The same, and `device_bytes` are what the model holds on the device.
  absl::StatusOr<std::unique_ptr<Kernel>> OpenPlan(absl::Span<const std::byte> plan,
                                                   uint64_t* device_bytes) const;

 private:
  const DevicePlugin* plugin_;
  const DeviceOptions options_;
};

// What a code of a plug-in means to the caller of a kernel.
absl::StatusCode StatusCodeOf(DeviceCode code);

}  // namespace millrace
