// Stands where a profiler stands: a shared object that NVTX_INJECTION64_PATH names is called by the
// first range of a process, and here it counts the ranges instead of drawing them.
//
// Who may call: `tools/dev gpu`, which builds it with the toolkit's headers; gpu_check reads the
//   counts by millrace_recorded_ranges. Invariants: 1. every range that ended had begun.
// Fails: the counts are -1 where a range ended that had not begun.
#include <nvtx3/nvToolsExt.h>
#include <stdint.h>
#include <string.h>

#include <atomic>

namespace {

constexpr const char* kNames[] = {"millrace host to device", "millrace launch",
                                  "millrace synchronize", "millrace device to host"};
constexpr size_t kKinds = sizeof kNames / sizeof kNames[0];

std::atomic<int64_t> g_begun[kKinds];
std::atomic<bool> g_wrong{false};
thread_local int t_depth = 0;

int Push(const char* name) {
  for (size_t i = 0; i < kKinds; ++i) {
    if (strcmp(name, kNames[i]) == 0) ++g_begun[i];
  }
  return t_depth++;
}

int Pop() {
  if (t_depth == 0) g_wrong = true;
  return --t_depth;
}

}  // namespace

extern "C" {

// What the header calls for the first range of the process; 1: all is well.
__attribute__((visibility("default"))) int InitializeInjectionNvtx2(
    NvtxGetExportTableFunc_t get_export_table) {
  const auto* callbacks =
      static_cast<const NvtxExportTableCallbacks*>(get_export_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned int size = 0;
  if (callbacks == nullptr ||
      callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &table, &size) == 0 ||
      size <= NVTX_CBID_CORE_RangePop) {
    return 0;
  }
  *table[NVTX_CBID_CORE_RangePushA] = reinterpret_cast<NvtxFunctionPointer>(Push);
  *table[NVTX_CBID_CORE_RangePop] = reinterpret_cast<NvtxFunctionPointer>(Pop);
  return 1;
}

// How often each of the four ranges began; -1 for each where some range ended that had not.
__attribute__((visibility("default"))) void millrace_recorded_ranges(int64_t counts[4]) {
  for (size_t i = 0; i < kKinds; ++i) counts[i] = g_wrong ? -1 : g_begun[i].load();
}
}
