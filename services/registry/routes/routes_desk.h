// The routes that are in force, who changed them last, and where they are kept.
//
// Purpose: the one owner of routes: reads routes.yaml, checks it against the catalog, does
// commands,
//   publishes, keeps. Who may call: any thread; changes come one after the other.
// Ownership: owns the journal, and the thread that keeps. The host's functions are called with the
//   desk held, on the caller's thread.
// Invariants:
//   1. A change is published first and kept after, on a thread of its own: a rollback waits for no
//      disk, also not for that of the change before it. What was published and could not be kept is
//      said. What waits for the disk is kept together.
//   2. What is wrong leaves the routes as they are, is logged, and is told by `list` until it is
//      right.
//   3. Generations grow, also over restarts: the journal has the last one.
//   4. The file is replaced by rename. One that was changed by hand since it was read is never
//      overwritten: it stays beside ours as routes.yaml.by-hand.
//   5. A version that is read-only (read_only.h) gets no more by any change but a rollback.
// What fails: Change, with a sentence.
#pragma once

#include <stdint.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "ipc/catalog.pb.h"
#include "ipc/model_debt.h"
#include "ipc/routes.pb.h"
#include "services/registry/routes/read_only.h"
#include "services/registry/routes/route_command.h"
#include "services/registry/routes/routes_journal.h"

namespace millrace {

struct RouteOutcome {
  absl::Status status;
  uint64_t generation = 0;  // that is published with it; 0: nothing had to be
  std::string message;      // beside OK: what to know ("in force, not kept: ...")
  std::string reply_json;
};

class RoutesDesk {
 public:
  struct Host {
    std::function<void(const Routes& routes)> publish;
    std::function<int64_t()> wall_ms;
    DebtLimits debt = {};
  };
  // `file`: routes.yaml; the journal is beside it.
  RoutesDesk(std::string file, Host host);
  ~RoutesDesk();  // what is published is kept first

  // Reads what is kept and publishes it. Once, with the first catalog.
  void Start(std::shared_ptr<const Catalog> catalog);
  // Another catalog; routes stay as they are.
  void SetCatalog(std::shared_ptr<const Catalog> catalog);
  // The file again, which somebody may have changed by hand.
  void Reread();
  // Publishes what is in force once more.
  void SayAgain();

  // `done` is called once, by any thread: when the change is kept, or at once where nothing has to
  // be.
  using Done = std::function<void(const RouteOutcome& outcome)>;
  void ChangeThen(const std::string& command_json, const std::string& who, Done done);
  // The same, waiting for it.
  RouteOutcome Change(const std::string& command_json, const std::string& who);
  // The whole route, as a rollout makes it and puts it back; nothing: without it. A version that it
  // names and that is not loaded is no fault where it names none that the route did not name
  // before. Does not wait for it to be kept.
  RouteOutcome Replace(const std::string& name, const std::optional<NamedRoute>& route,
                       const std::string& who, const std::string& why);
  // Whether a version may get more than it has: FAILED_PRECONDITION where it is read-only.
  absl::Status MayGrow(const std::string& model, const std::string& version) const;
  const std::string& file() const { return file_; }
  // What is published; never null.
  std::shared_ptr<const Routes> routes() const;
  std::shared_ptr<const Catalog> catalog() const;
  // What a rollback of each route in force would go back to.
  std::vector<NamedRoute> RollbackTargets() const;

 private:
  struct FileText {
    bool there = false;
    std::string text;
    std::string unreadable;  // why; empty: it was read
  };
  FileText ReadFile() const;
  void TakeFile(bool first);
  void RecordFile(const Routes& now);
  void Publish(Routes routes);
  struct ToKeep {
    RouteChange change;
    Done done;
  };
  void KeepAll();  // the thread's
  absl::Status Keep(const Routes& routes);
  // Nothing: it waits to be kept.
  std::optional<RouteOutcome> DoChange(const RouteCommand& command, const std::string& who,
                                       Done* done);
  void Commit(RouteChange change, Done done);
  absl::StatusOr<std::optional<NamedRoute>> After(const RouteCommand& command,
                                                  const std::optional<NamedRoute>& before) const;
  absl::Status CheckAfter(const std::optional<NamedRoute>& after, bool rollback) const;
  ReadOnlyCheck read_only() const;
  std::optional<NamedRoute> Find(const std::string& name) const;
  // An empty name: all. What does not fit into a message is left off, and counted.
  std::string List(const std::string& name) const;
  std::string History(const std::string& name) const;
  // NOT_FOUND: neither a route nor a model is, or was, called so.
  absl::Status CheckKnown(const std::string& name) const;

  const std::string file_;
  const Host host_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;  // of the thread that keeps
  std::condition_variable idle_;  // nothing is being kept
  std::vector<ToKeep> to_keep_;
  bool keeping_ = false, end_ = false;
  RoutesJournal journal_;  // what is in it, at once; its file is the keeping thread's
  std::shared_ptr<const Catalog> catalog_;
  std::shared_ptr<const Routes> routes_;
  FileText known_;                        // as read or written last
  std::vector<std::string> file_faults_;  // of the file as it is; empty: it is in force
  std::string not_kept_;                  // why what is in force is not in the file
  std::thread keeper_;                    // the last: it uses all of the others
};

// "repository/routes.yaml" to "repository/routes.journal".
std::string JournalPath(const std::string& file);

}  // namespace millrace
