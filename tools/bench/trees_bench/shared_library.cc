#include "tools/bench/trees_bench/shared_library.h"

#include <dlfcn.h>

#include "absl/strings/str_cat.h"

namespace millrace::bench {

absl::StatusOr<SharedLibrary> SharedLibrary::Open(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return absl::NotFoundError(absl::StrCat("cannot open: ", dlerror()));
  return SharedLibrary(path, handle);
}

absl::StatusOr<void*> SharedLibrary::FindSymbol(const char* name) const {
  void* symbol = dlsym(handle_, name);
  if (symbol == nullptr) return absl::NotFoundError(absl::StrCat(path_, " has no ", name));
  return symbol;
}

}  // namespace millrace::bench
