// A peer's shared library, opened at run time.
//
// Purpose: the bench links none of its peers, so that it builds where they are not. Who may call:
//   one thread. Ownership: a library stays open for the life of the process, since unloading one
//   that has started OpenMP is not safe. Invariants: 1. its names stay its own (RTLD_LOCAL).
// Fails: NotFound for a file or a function that is not there; the sentence names both.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace millrace::bench {

class SharedLibrary {
 public:
  static absl::StatusOr<SharedLibrary> Open(const std::string& path);

  // The function `name`; `*function` is a function pointer of the right type.
  template <typename Function>
  absl::Status Find(const char* name, Function** function) const {
    auto symbol = FindSymbol(name);
    if (!symbol.ok()) return symbol.status();
    *function = reinterpret_cast<Function*>(*symbol);
    return absl::OkStatus();
  }

 private:
  SharedLibrary(std::string path, void* handle) : path_(std::move(path)), handle_(handle) {}
  absl::StatusOr<void*> FindSymbol(const char* name) const;

  std::string path_;
  void* handle_;
};

// As in every file that asks for several things in turn.
#define MR_BENCH_RETURN_IF_ERROR(expression)                                \
  do {                                                                      \
    if (absl::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)

}  // namespace millrace::bench
