#include "kernels/cuda/cublas.h"

#include <dlfcn.h>

#include <initializer_list>

namespace millrace::cuda {
namespace {

// Its own property function needs neither a handle nor a device.
int32_t VersionOf(void* library) {
  using GetProperty = int (*)(int property, int* value);
  const auto get = reinterpret_cast<GetProperty>(dlsym(library, "cublasGetProperty"));
  int parts[3] = {};  // major, minor, patch
  if (get == nullptr) return 0;
  for (int i = 0; i < 3; ++i) {
    if (get(i, &parts[i]) != 0) return 0;
  }
  return parts[0] * 10000 + parts[1] * 100 + parts[2];
}

int32_t Find() {
  for (const char* name : {"libcublas.so.13", "libcublas.so.12"}) {
    void* const library = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
    if (library == nullptr) continue;
    const int32_t version = VersionOf(library);
    if (version != 0) return version;
    dlclose(library);
  }
  return 0;
}

}  // namespace

int32_t CublasVersion() {
  static const int32_t version = Find();
  return version;
}

}  // namespace millrace::cuda
