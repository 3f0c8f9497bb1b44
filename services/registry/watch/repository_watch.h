// Watches the repository and says what is to be built again.
//
// Purpose: inotify, or looking from time to time, behind one word: this is due. What changed is
// told
//   by comparing scans (tree_scan.h) in either case; inotify says when to look, and where.
// Who may call: the registry's thread. Ownership: the inotify descriptor and the last scans.
// Invariants:
//   1. What is due is complete as far as can be told (change_book.h).
//   2. A root that cannot be opened, or that shows no model while some are built, is away: nothing
//   is
//      due until it is back, and this is logged when it goes and when it comes.
//   3. Everything is looked at once a minute at least, since inotify does not see all: targets of
//      symbolic links, writes through a mapping, mounts.
//   4. Where inotify fails later, or loses something, everything is looked at from then on, or
//   once.
// What fails: nothing; what cannot be watched is logged and looked at.
#pragma once

#include <stdint.h>

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/config.h"
#include "services/registry/reread.h"
#include "services/registry/watch/change_book.h"
#include "services/registry/watch/inotify_source.h"
#include "services/registry/watch/tree_scan.h"

namespace millrace {

class RepositoryWatch {
 public:
  struct Options {
    enum class Mode { kOff, kAuto, kInotify, kPoll };
    Mode mode = Mode::kOff;
    std::string root;
    int64_t settle_ns = 0;
    int64_t poll_ns = 0;
  };
  static Options OptionsOf(const Config& config);

  // `now_ns`: a monotonic clock.
  RepositoryWatch(Options options, std::function<int64_t()> now_ns);

  // To be polled for reading, for at most so long; then Step.
  int fd() const;
  int TimeoutMs() const;
  // What is to be built now, if anything is.
  std::optional<Reread> Step();
  // It was built, well or not, or could not be tried: then it is said again, later.
  void Built(const Reread& reread) { book_.Built(reread); }
  void NotTried();

  // Before everything is read because somebody said so, and after it was.
  void BeforeBuild();
  void AfterBuild() { book_.BuiltAll(); }
  // The same of one model.
  void BeforeLoad(const std::string& model);

  bool uses_inotify() const { return inotify_.has_value(); }
  bool is_away() const { return away_; }

 private:
  bool on() const { return options_.mode != Options::Mode::kOff; }
  // The root, as it is now; none while it is away.
  std::optional<RootScan> LookAtRoot(std::vector<std::string>* models);
  void SayAway(const std::string& why);
  void StartInotify(const RootScan& root);
  void FallBack(const std::string& why);
  void Hear();
  void Scan(const RootScan& root, const std::string& model);
  void ScanAll();
  void ScanDirty();

  const Options options_;
  const std::function<int64_t()> now_ns_;
  ChangeBook book_;
  std::optional<InotifySource> inotify_;
  // Of the root as it was seen last. No descriptor is kept: it would keep a file system mounted.
  std::optional<std::pair<uint64_t, uint64_t>> identity_;
  bool away_ = false;
  bool all_dirty_ = true;
  std::set<std::string> dirty_;
  int64_t hear_again_ns_ = 0;
  int64_t look_again_ns_ = 0;  // at the root
  int64_t scan_again_ns_ = 0;  // everything
  int64_t not_before_ns_ = 0;  // what is due
};

}  // namespace millrace
