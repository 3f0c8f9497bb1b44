// Opens the plug-in's shared object, for the programs and tests that drive it directly.
//
// Who may call: tests and benches. The library stays open until the process ends.
#pragma once

#include <dlfcn.h>

#include <string>

#include "kernels/device/plugin.h"

namespace millrace {

// Null, and why, where the file is not the plug-in of this build.
inline const DevicePlugin* LoadPlugin(const std::string& path, std::string* fault) {
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    *fault = dlerror();
    return nullptr;
  }
  const auto symbol = reinterpret_cast<DeviceSymbol>(dlsym(library, kDeviceSymbol));
  if (symbol == nullptr) {
    *fault = path + " has no symbol " + kDeviceSymbol;
    return nullptr;
  }
  const DevicePlugin* plugin = symbol();
  if (plugin == nullptr || plugin->abi != kDeviceAbi) {
    *fault = path + " is of another build";
    return nullptr;
  }
  return plugin;
}

}  // namespace millrace
