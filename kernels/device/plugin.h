// What stands between the server and the plug-in that drives a device: plain structs and functions.
//
// Purpose: everything of CUDA lives in a shared object that execution opens at run time, so that a
//   server starts and serves where there is no driver, no device or no toolkit. This header is all
//   the two sides share. It includes nothing but the standard library's C headers, so that the
//   plug-in builds with nvcc alone.
// Who may call: Start() once, first. Then any thread, except that two Run() of one model may not
//   overlap, and nothing may run beside Close() of the same model.
// Ownership: the host keeps plan images and registered memory mapped until Close() or Unregister();
//   models belong to the plug-in between Open() and Close().
// Invariants:
//   1. Both sides are of one build: `abi` is kDeviceAbi, or the host does not use the plug-in.
//   2. After Open() a Run() allocates nothing, on the host or on the device.
//   3. Run() returns when the margins are written, and they are bit-equal to the reference's unless
//      `fast` was asked for.
//   4. No exception crosses this line.
// Fails: every function with a DeviceCode, and a sentence that names the call and its answer.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace millrace {

enum class DeviceCode : int32_t {
  kOk = 0,
  kNoDriver = 1,     // no driver on this machine
  kOldDriver = 2,    // the driver is older than the plug-in's run-time library
  kNoDevice = 3,     // a driver, but no device that it may use
  kUnsupported = 4,  // the device, or this part of the plug-in, cannot do this; use the CPU
  kInvalid = 5,      // the caller's argument: a plan that does not check, too many rows
  kOutOfMemory = 6,  // device memory; the device is well
  kLost = 7,         // the context is gone (a sticky error): end the process
};

struct DeviceError {
  char sentence[256];  // "" on kOk
};

struct DeviceInfo {
  char name[128];  // "NVIDIA H100 80GB HBM3"
  int32_t compute_major, compute_minor;
  int32_t driver_version, runtime_version;  // as CUDA has them: 13000 is 13.0
  int32_t cublas_version;                   // 0: no cuBLAS here; what needs it runs on the CPU
  uint64_t memory_bytes;
  int32_t multiprocessors;
  int32_t reads_host_memory;  // 1: registered host memory is read in place
};

struct DeviceOptions {
  int32_t device;           // ordinal
  int32_t fast;             // 1: sums in any order (see below); 0: bit-equal
  uint64_t max_rows;        // of a batch; sizes the pools of the model at Open()
  uint64_t in_place_bytes;  // batches up to this are read by the kernel from host memory, without a
                            // copy where they are registered and too large to be worth one
};

// The bound of `fast`: each margin differs from the bit-equal one by at most
//   2 n u / (1 - n u) * (|base| + the sum of |leaf| over the trees)
// with n = trees + 1 and u = 2^-24 for float margins, 2^-53 for double ones: each of two orders is
// within n u / (1 - n u) of the true sum. Plans with several groups or vector leaves stay
// bit-equal.

// As KernelPiece, without predictions: transforms are the host's.
struct DevicePiece {
  const void* input;  // [rows, features] of float
  uint64_t rows;
  void* margins;  // [rows, groups] of the plan's margin type
};

// When the steps of a run ended, CLOCK_MONOTONIC: from `begin` to `brought` inputs are copied to
// where the device reads them, up to `launched` its graph is launched, up to `done` it works (and
// copies what was only asked for before), up to `end` margins are copied to their pieces.
struct DeviceTimes {
  int64_t begin_ns, brought_ns, launched_ns, done_ns, end_ns;
};

struct DeviceModel;

struct DevicePlugin {
  uint64_t abi;
  DeviceCode (*start)(int32_t device, DeviceInfo* info, DeviceError* error);
  // Host memory that inputs will be read from; the device never writes it. May fail with
  // kUnsupported: inputs there are copied.
  DeviceCode (*register_memory)(const void* data, uint64_t bytes, DeviceError* error);
  void (*unregister_memory)(const void* data);
  // `image` was checked by TreePlan::Open.
  DeviceCode (*open)(const void* image, uint64_t image_bytes, const DeviceOptions* options,
                     DeviceModel** model, DeviceError* error);
  void (*close)(DeviceModel* model);
  uint64_t (*device_bytes)(const DeviceModel* model);  // held on the device, pools included
  // Up to max_rows of rows in up to kMaxDevicePieces pieces.
  DeviceCode (*run)(DeviceModel* model, const DevicePiece* pieces, uint64_t piece_count,
                    DeviceError* error);
  // Of the model's last run that was kOk, by the thread that ran it. May be null: not known.
  void (*last_times)(const DeviceModel* model, DeviceTimes* times);
};

inline constexpr uint64_t kMaxDevicePieces = 256;

// A change to anything above changes this number.
inline constexpr uint64_t kDeviceAbi = 0x4d52444556000002;

// The one symbol of the shared object: `const DevicePlugin* millrace_device_plugin()`.
inline constexpr char kDeviceSymbol[] = "millrace_device_plugin";
using DeviceSymbol = const DevicePlugin* (*)();

}  // namespace millrace
