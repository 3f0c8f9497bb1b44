// The one symbol of the shared object, and what stands between it and Model.
#include "kernels/device/plugin.h"

#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <span>

#include "kernels/cuda/cublas.h"
#include "kernels/cuda/errors.h"
#include "kernels/cuda/host_registry.h"
#include "kernels/cuda/model.h"
#include "kernels/plan/plan_view.h"
#include "kernels/simt/cuda.h"

namespace millrace {

struct DeviceModel {
  std::unique_ptr<cuda::Model> model;
};

namespace cuda {
namespace {

struct State {
  bool started = false;
  DeviceFacts facts;
  HostRegistry registry;
};

// Never destroyed: CUDA may be gone before a destructor of ours would run.
State& TheState() {
  static State& state = *new State;
  return state;
}

// No exception crosses the line, and every sentence is set.
template <typename F>
DeviceCode Guarded(DeviceError* error, F body) {
  if (error != nullptr) error->sentence[0] = '\0';
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Fail(DeviceCode::kOutOfMemory, error, "the host has no memory left");
  } catch (const std::exception& fault) {
    return Fail(DeviceCode::kUnsupported, error, "%s", fault.what());
  }
}

// CUDA's current device belongs to a thread.
DeviceCode UseDevice(DeviceError* error) {
  thread_local int current = -1;
  const State& state = TheState();
  if (!state.started) return Fail(DeviceCode::kInvalid, error, "start comes first");
  if (current == state.facts.device) return DeviceCode::kOk;
  MR_CUDA(cudaSetDevice, (state.facts.device), error);
  current = state.facts.device;
  return DeviceCode::kOk;
}

DeviceCode FindDevice(int device, DeviceInfo* info, DeviceError* error) {
  int driver = 0;
  int count = 0;
  const auto start = [&](cudaError_t answer, const char* call) {
    return answer == cudaSuccess ? DeviceCode::kOk : ClassifyAtStart(answer, call, driver, error);
  };
  DeviceCode code = start(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  if (code != DeviceCode::kOk) return code;
  info->driver_version = driver;
  code = start(cudaRuntimeGetVersion(&info->runtime_version), "cudaRuntimeGetVersion");
  if (code != DeviceCode::kOk) return code;
  if (driver == 0) return Fail(DeviceCode::kNoDriver, error, "no CUDA driver on this machine");
  code = start(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  if (code != DeviceCode::kOk) return code;
  if (device < 0 || device >= count) {
    return Fail(DeviceCode::kNoDevice, error, "device %d is asked for, and there are %d", device,
                count);
  }
  code = start(cudaSetDevice(device), "cudaSetDevice");
  if (code != DeviceCode::kOk) return code;
  // The first call that needs a context makes one.
  return start(cudaFree(nullptr), "cudaFree");
}

DeviceCode DescribeDevice(int device, DeviceInfo* info, DeviceFacts* facts, DeviceError* error) {
  cudaDeviceProp properties = {};
  MR_CUDA(cudaGetDeviceProperties, (&properties, device), error);
  memcpy(info->name, properties.name, sizeof info->name - 1);  // the last byte stays 0
  info->compute_major = properties.major;
  info->compute_minor = properties.minor;
  info->memory_bytes = properties.totalGlobalMem;
  info->multiprocessors = properties.multiProcessorCount;
  if (properties.major < 8) {
    return Fail(DeviceCode::kUnsupported, error,
                "%s is of compute capability %d.%d; the kernels need 8.0", info->name,
                properties.major, properties.minor);
  }
  int registers = 0;
  MR_CUDA(cudaDeviceGetAttribute, (&registers, cudaDevAttrHostRegisterReadOnlySupported, device),
          error);
  info->reads_host_memory = properties.canMapHostMemory != 0 && registers != 0;
  facts->device = device;
  facts->reads_host_memory = info->reads_host_memory != 0;
  facts->limits.multiprocessors = static_cast<uint32_t>(properties.multiProcessorCount);
  constexpr uint32_t kStaticBytes = 1024;  // more than the kernels' own arrays
  facts->limits.shared_limit_bytes =
      static_cast<uint32_t>(properties.sharedMemPerBlockOptin) - kStaticBytes;
  return DeviceCode::kOk;
}

DeviceCode Start(int32_t device, DeviceInfo* info, DeviceError* error) {
  return Guarded(error, [&] {
    *info = {};
    State& state = TheState();
    DeviceCode code = FindDevice(device, info, error);
    if (code == DeviceCode::kOk) code = DescribeDevice(device, info, &state.facts, error);
    if (code != DeviceCode::kOk) return code;
    info->cublas_version = CublasVersion();
    state.started = true;
    return code;
  });
}

DeviceCode RegisterMemory(const void* data, uint64_t bytes, DeviceError* error) {
  return Guarded(error, [&] {
    const DeviceCode code = UseDevice(error);
    if (code != DeviceCode::kOk) return code;
    if (!TheState().facts.reads_host_memory) {
      return Fail(DeviceCode::kUnsupported, error, "the device cannot read this host's memory");
    }
    return TheState().registry.Register(data, bytes, error);
  });
}

void UnregisterMemory(const void* data) {
  Guarded(nullptr, [&] {
    if (UseDevice(nullptr) == DeviceCode::kOk) TheState().registry.Unregister(data);
    return DeviceCode::kOk;
  });
}

// TreePlan::Open checked the rest; this is against a host of another build.
DeviceCode CheckImage(const void* image, uint64_t bytes, DeviceError* error) {
  PlanHeader header;
  if (image == nullptr || bytes < sizeof header) {
    return Fail(DeviceCode::kInvalid, error, "open: the image is shorter than its header");
  }
  memcpy(&header, image, sizeof header);
  if (header.magic != kPlanMagic || header.format_hash != kFormatHash ||
      header.image_bytes != bytes) {
    return Fail(DeviceCode::kInvalid, error, "open: the image is not a plan of this format");
  }
  return DeviceCode::kOk;
}

DeviceCode OpenModel(const void* image, uint64_t image_bytes, const DeviceOptions* options,
                     DeviceModel** out, DeviceError* error) {
  return Guarded(error, [&] {
    *out = nullptr;
    DeviceCode code = UseDevice(error);
    if (code == DeviceCode::kOk) code = CheckImage(image, image_bytes, error);
    if (code != DeviceCode::kOk) return code;
    const DeviceFacts& facts = TheState().facts;
    constexpr uint64_t kMostRows = 1u << 24;
    if (options->device != facts.device || options->max_rows == 0 ||
        options->max_rows > kMostRows) {
      return Fail(DeviceCode::kInvalid, error, "open: device %d and %llu rows", options->device,
                  static_cast<unsigned long long>(options->max_rows));
    }
    auto model = std::make_unique<DeviceModel>();
    code = Model::Open(PlanView(image), *options, facts, TheState().registry, &model->model, error);
    if (code == DeviceCode::kOk) *out = model.release();
    return code;
  });
}

void CloseModel(DeviceModel* model) {
  Guarded(nullptr, [&] {
    UseDevice(nullptr);
    delete model;
    return DeviceCode::kOk;
  });
}

uint64_t DeviceBytes(const DeviceModel* model) { return model->model->device_bytes(); }

DeviceCode RunModel(DeviceModel* model, const DevicePiece* pieces, uint64_t piece_count,
                    DeviceError* error) {
  return Guarded(error, [&] {
    const DeviceCode code = UseDevice(error);
    if (code != DeviceCode::kOk) return code;
    return model->model->Run(std::span(pieces, piece_count), error);
  });
}

void LastTimes(const DeviceModel* model, DeviceTimes* times) { *times = model->model->times(); }

}  // namespace
}  // namespace cuda
}  // namespace millrace

extern "C" __attribute__((visibility("default"))) const millrace::DevicePlugin*
millrace_device_plugin() {
  static const millrace::DevicePlugin plugin = {
      .abi = millrace::kDeviceAbi,
      .start = millrace::cuda::Start,
      .register_memory = millrace::cuda::RegisterMemory,
      .unregister_memory = millrace::cuda::UnregisterMemory,
      .open = millrace::cuda::OpenModel,
      .close = millrace::cuda::CloseModel,
      .device_bytes = millrace::cuda::DeviceBytes,
      .run = millrace::cuda::RunModel,
      .last_times = millrace::cuda::LastTimes,
  };
  return &plugin;
}
