#include "services/supervisor/huge_pages.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "ipc/memfd.h"
#include "ipc/window.h"

namespace millrace {
namespace {

constexpr uint64_t kIncarnations = 2;

uint64_t PagesOf(const ArenaShape& shape) {
  return (shape.TotalBytes() + kHugePageBytes - 1) / kHugePageBytes;
}

}  // namespace

uint64_t HugePagesNeeded(const Config& config) {
  const uint64_t lanes = uint64_t{!config.grpc_listen.empty()} +
                         uint64_t{!config.http_listen.empty()} +
                         uint64_t{!config.local_listen.empty()};
  const uint64_t workers = config.features_workers + config.execution_workers +
                           config.execution_spare + config.aggregation_workers;
  return kIncarnations * (lanes * config.ingress_workers * PagesOf(IngressArenaShape(config)) +
                          workers * PagesOf(WorkerArenaShape(config)));
}

std::string HugePagesFault(const Config& config, const std::string& folder) {
  if (config.huge_pages != "require") return "";
  uint64_t pool = 0;
  std::ifstream(folder + "/nr_hugepages") >> pool;
  const uint64_t needed = HugePagesNeeded(config);
  if (pool >= needed) return "";
  return absl::StrCat("memory.huge_pages: this machine has ", pool,
                      " pages of 2 MiB, and two incarnations of every process need ", needed,
                      " (vm.nr_hugepages)");
}

}  // namespace millrace
