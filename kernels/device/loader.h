// Opens the plug-in that drives a device, or says why there is none.
//
// Purpose: a server starts and serves on a machine without a driver, a device or a toolkit, and
//   tells its operator in one sentence which of them it lacks.
// Who may call: one thread, off the path of requests: the driver's start may take a second.
// Ownership: the shared object stays open for the life of the process; nothing of it is ever
// closed. Invariants:
//   1. OpenDevice never ends the process and never throws, whatever lies at the path.
//   2. `plugin` is set exactly when `state` is kReady, and is then of this build and started.
//   3. `sentence` is never empty, is one line, and stands alone: "no NVIDIA driver on this
//   machine".
// Fails: never; what went wrong is the state.
#pragma once

#include <string>
#include <string_view>

#include "kernels/device/plugin.h"

namespace millrace {

enum class DeviceState : uint8_t {
  kReady,
  kOff,          // nobody asked for a device
  kNoLibrary,    // no file at the path
  kNotLoadable,  // no shared object, or one whose own libraries are missing
  kNoSymbol,     // a shared object, but not ours
  kOtherBuild,
  kNoDriver,
  kOldDriver,
  kNoDevice,
  kFailed,  // the driver is there, and the device could not be started
};
inline constexpr size_t kDeviceStates = 10;

// "no_driver", for logs and status.
std::string_view DeviceStateName(DeviceState state);

struct Device {
  DeviceState state = DeviceState::kOff;
  std::string sentence = "no device was asked for";
  DeviceInfo info = {};
  const DevicePlugin* plugin = nullptr;

  bool ready() const { return state == DeviceState::kReady; }
};

// `path`: the shared object; `ordinal`: which of the driver's devices.
Device OpenDevice(const std::string& path, int ordinal);

// The path of the plug-in that lies beside this program.
std::string DefaultDevicePath();

}  // namespace millrace
