// The sums of what ended incarnations counted.
//
// Purpose: a counter that anybody shows is a living page's plus what is carried here, and so never
// goes
//   back when a process dies, the observer or the supervisor included.
// Who may call: the supervisor's main thread. Ownership: owns the sums.
// Invariants:
//   1. An incarnation is added once: those added last are remembered beside the sums, in the same
//      snapshot, so that a supervisor that died in between does not add one again.
//   2. A page is added once its process was reaped: nobody writes it any more.
//   3. Bounded whatever pages hold: kMaxModels, those beyond are summed up without a name.
// Nothing fails: a snapshot that cannot be read, or is of another layout, leaves the sums empty.
#pragma once

#include <stdint.h>

#include <deque>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "ipc/page.h"
#include "ipc/stats.h"
#include "ipc/stats_sums.pb.h"
#include "ipc/topology.h"

namespace millrace {

class StatsCarry {
 public:
  static constexpr size_t kMaxModels = 1024;  // of all stages together
  static constexpr size_t kMostRemembered = 512;

  // One lane's page. False: it was added before.
  bool Add(Stage stage, uint32_t index, uint32_t incarnation, const Page& page);
  // A process of this place ended, and nobody had asked it to.
  void CountEnd(Stage stage, uint32_t index);

  // Null: nothing was carried over of it.
  const std::vector<uint64_t>* Find(Stage stage, const std::string& model,
                                    const std::string& version) const;

  uint64_t version() const { return version_; }  // of the sums; 0: nothing was ever added
  StatsSums Snapshot() const;
  // Goes on from an earlier supervisor's snapshot.
  void GoOnFrom(const StatsSums& sums);

 private:
  struct OfProcess {
    std::vector<uint64_t> counters;
    uint64_t ends = 0;
  };
  using Model = std::tuple<uint32_t, std::string, std::string>;  // stage, model, version
  std::vector<uint64_t>& WordsOf(uint32_t stage, const std::string& model,
                                 const std::string& version);

  std::map<std::pair<uint32_t, uint32_t>, OfProcess> processes_;
  std::map<Model, std::vector<uint64_t>> models_;
  std::deque<uint32_t> added_;
  uint64_t version_ = 0;
};

}  // namespace millrace
