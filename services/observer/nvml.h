// The GPUs of this machine, as NVIDIA's management library tells of them.
//
// Purpose: utilisation, memory, power and energy, without a device being opened.
// Who may call: one thread. Ownership: the library is opened at run time and never closed.
// Invariants: 1. without the library, a driver or a device there are no devices, and nothing is
//   said or retried. 2. A value that a device does not tell is absent.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

namespace millrace {

struct GpuSample {
  std::string uuid;
  std::optional<double> utilization;  // 0 to 1
  std::optional<uint64_t> memory_total_bytes, memory_used_bytes;
  std::optional<double> power_watts, power_limit_watts, energy_joules;
};

class Nvml {
 public:
  // `library`: what is opened.
  explicit Nvml(const char* library = "libnvidia-ml.so.1");
  std::vector<GpuSample> Sample() const;

 private:
  void* library_ = nullptr;  // null: not there, or it will not start
  std::vector<void*> devices_;
  std::vector<std::string> uuids_;
};

}  // namespace millrace
