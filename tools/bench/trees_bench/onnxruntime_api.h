// The part of ONNX Runtime's C interface that the bench calls.
//
// Purpose: the library exports one function, which gives a table of function pointers. The table
//   only grows: a function's place is for ever. Who may call: one thread.
// Invariants: 1. the places are those of version 5 of the table, which ends at 149; a library that
//   does not offer it gives no table.
// Fails: NotFound where the library has no such table; a call that fails returns a status object,
//   whose message Ok() takes and releases.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string>

#include "absl/status/statusor.h"
#include "tools/bench/trees_bench/shared_library.h"

namespace millrace::bench {

class OnnxRuntimeApi {
 public:
  using Handle = void*;
  using Fault = void*;  // a status object; null where all is well
  static constexpr int kWarning = 2;
  static constexpr int kSequential = 0;
  static constexpr int kAllOptimizations = 99;
  static constexpr int kDeviceAllocator = 0;
  static constexpr int kDefaultMemory = 0;
  static constexpr int kFloat = 1;

  const char* (*ErrorMessage)(Handle status);
  Fault (*CreateEnv)(int log_level, const char* log_name, Handle* out);
  Fault (*DisableTelemetry)(Handle env);
  Fault (*CreateSession)(Handle env, const char* file, Handle options, Handle* out);
  Fault (*CreateSessionOptions)(Handle* out);
  Fault (*SetExecutionMode)(Handle options, int mode);
  Fault (*SetOptimizationLevel)(Handle options, int level);
  Fault (*SetIntraOpThreads)(Handle options, int threads);
  Fault (*SetInterOpThreads)(Handle options, int threads);
  Fault (*CreateRunOptions)(Handle* out);
  Fault (*CreateTensor)(Handle memory, void* data, size_t bytes, const int64_t* shape,
                        size_t dimensions, int type, Handle* out);
  Fault (*CreateCpuMemoryInfo)(int allocator, int memory, Handle* out);
  void (*ReleaseStatus)(Handle status);
  void (*ReleaseMemoryInfo)(Handle memory);
  void (*ReleaseSession)(Handle session);
  void (*ReleaseValue)(Handle value);
  void (*ReleaseRunOptions)(Handle options);
  void (*ReleaseSessionOptions)(Handle options);
  Fault (*RunBound)(Handle session, Handle run_options, Handle binding);
  Fault (*CreateBinding)(Handle session, Handle* out);
  void (*ReleaseBinding)(Handle binding);
  Fault (*BindInput)(Handle binding, const char* name, Handle value);
  Fault (*BindOutput)(Handle binding, const char* name, Handle value);

  absl::Status Ok(Fault fault) const {
    if (fault == nullptr) return absl::OkStatus();
    absl::Status status = absl::InternalError(ErrorMessage(fault));
    ReleaseStatus(fault);
    return status;
  }

  static absl::StatusOr<OnnxRuntimeApi> Load(const std::string& path) {
    auto library = SharedLibrary::Open(path);
    if (!library.ok()) return library.status();
    struct Base {
      void* const* (*Table)(uint32_t version);
      const char* (*VersionText)();
    };
    const Base* (*get_base)();
    MR_BENCH_RETURN_IF_ERROR(library->Find("OrtGetApiBase", &get_base));
    void* const* table = get_base()->Table(5);
    if (table == nullptr) return absl::NotFoundError(path + " offers no API of version 5");
    return OnnxRuntimeApi(table);
  }

 private:
  explicit OnnxRuntimeApi(void* const* table) {
    Take(table, 2, &ErrorMessage);
    Take(table, 3, &CreateEnv);
    Take(table, 6, &DisableTelemetry);
    Take(table, 7, &CreateSession);
    Take(table, 10, &CreateSessionOptions);
    Take(table, 13, &SetExecutionMode);
    Take(table, 23, &SetOptimizationLevel);
    Take(table, 24, &SetIntraOpThreads);
    Take(table, 25, &SetInterOpThreads);
    Take(table, 39, &CreateRunOptions);
    Take(table, 49, &CreateTensor);
    Take(table, 69, &CreateCpuMemoryInfo);
    Take(table, 93, &ReleaseStatus);
    Take(table, 94, &ReleaseMemoryInfo);
    Take(table, 95, &ReleaseSession);
    Take(table, 96, &ReleaseValue);
    Take(table, 97, &ReleaseRunOptions);
    Take(table, 100, &ReleaseSessionOptions);
    Take(table, 133, &RunBound);
    Take(table, 134, &CreateBinding);
    Take(table, 135, &ReleaseBinding);
    Take(table, 136, &BindInput);
    Take(table, 137, &BindOutput);
  }

  template <typename Function>
  static void Take(void* const* table, size_t place, Function** out) {
    *out = reinterpret_cast<Function*>(table[place]);
  }
};

}  // namespace millrace::bench
