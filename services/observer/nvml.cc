#include "services/observer/nvml.h"

#include <dlfcn.h>

#include "common/log.h"

namespace millrace {
namespace {

// What is used of the library's interface, which is stable: 0 is success.
using Device = void*;
struct Utilization {
  unsigned int gpu, memory;  // per cent
};
struct Memory {
  unsigned long long total, free, used;
};
using Init = int (*)();
using Count = int (*)(unsigned int*);
using ByIndex = int (*)(unsigned int, Device*);
using Uuid = int (*)(Device, char*, unsigned int);
using GetUtilization = int (*)(Device, Utilization*);
using GetMemory = int (*)(Device, Memory*);
using GetNumber = int (*)(Device, unsigned int*);
using GetLong = int (*)(Device, unsigned long long*);

constexpr unsigned int kUuidBytes = 96;
constexpr double kMilli = 1e-3;
constexpr double kPerCent = 1e-2;

template <typename Function>
Function Find(void* library, const char* name) {
  return reinterpret_cast<Function>(dlsym(library, name));
}

template <typename Function, typename Value>
bool Ask(void* library, const char* name, Device device, Value* value) {
  const auto function = Find<Function>(library, name);
  return function != nullptr && function(device, value) == 0;
}

}  // namespace

Nvml::Nvml(const char* library) {
  void* const opened = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (opened == nullptr) return;
  const auto init = Find<Init>(opened, "nvmlInit_v2");
  const auto count = Find<Count>(opened, "nvmlDeviceGetCount_v2");
  const auto by_index = Find<ByIndex>(opened, "nvmlDeviceGetHandleByIndex_v2");
  const auto uuid = Find<Uuid>(opened, "nvmlDeviceGetUUID");
  unsigned int devices = 0;
  if (init == nullptr || count == nullptr || by_index == nullptr || uuid == nullptr ||
      init() != 0 || count(&devices) != 0) {
    Log(LogLevel::kInfo, "nvml_not_used");
    return;
  }
  for (unsigned int i = 0; i < devices; ++i) {
    Device device = nullptr;
    char name[kUuidBytes + 1] = {};
    if (by_index(i, &device) != 0 || uuid(device, name, kUuidBytes) != 0) continue;
    devices_.push_back(device);
    uuids_.emplace_back(name);
  }
  library_ = opened;
}

std::vector<GpuSample> Nvml::Sample() const {
  std::vector<GpuSample> samples;
  for (size_t i = 0; i < devices_.size(); ++i) {
    GpuSample& sample = samples.emplace_back();
    sample.uuid = uuids_[i];
    Device const device = devices_[i];
    Utilization use;
    if (Ask<GetUtilization>(library_, "nvmlDeviceGetUtilizationRates", device, &use)) {
      sample.utilization = use.gpu * kPerCent;
    }
    Memory memory;
    if (Ask<GetMemory>(library_, "nvmlDeviceGetMemoryInfo", device, &memory)) {
      sample.memory_total_bytes = memory.total;
      sample.memory_used_bytes = memory.used;
    }
    unsigned int milliwatts = 0;
    if (Ask<GetNumber>(library_, "nvmlDeviceGetPowerUsage", device, &milliwatts)) {
      sample.power_watts = milliwatts * kMilli;
    }
    if (Ask<GetNumber>(library_, "nvmlDeviceGetEnforcedPowerLimit", device, &milliwatts)) {
      sample.power_limit_watts = milliwatts * kMilli;
    }
    unsigned long long millijoules = 0;
    if (Ask<GetLong>(library_, "nvmlDeviceGetTotalEnergyConsumption", device, &millijoules)) {
      sample.energy_joules = static_cast<double>(millijoules) * kMilli;
    }
  }
  return samples;
}

}  // namespace millrace
