// RoutesDesk: its file and its journal on disk.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "ipc/fd.h"
#include "services/registry/routes/routes_check.h"
#include "services/registry/routes/routes_desk.h"
#include "services/registry/routes/routes_file.h"
#include "services/registry/text.h"
#include "services/registry/write_file.h"

namespace millrace {
namespace {

constexpr size_t kMostBytes = 4 << 20;
constexpr char kByHand[] = ".by-hand";

// Without it a rename may be lost with the machine.
void SyncFolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const Fd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.valid()) fsync(fd.get());
}

std::map<std::string, NamedRoute> ByName(const Routes& routes) {
  std::map<std::string, NamedRoute> by_name;
  for (const NamedRoute& route : routes.routes()) by_name[route.name()] = route;
  return by_name;
}

}  // namespace

RoutesDesk::FileText RoutesDesk::ReadFile() const {
  FileText file;
  const Fd fd(open(file_.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) {
    if (errno != ENOENT) file.unreadable = absl::StrCat(file_, ": ", strerror(errno));
    return file;
  }
  file.there = true;
  char block[16 << 10];
  while (true) {
    const ssize_t n = read(fd.get(), block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) file.unreadable = absl::StrCat(file_, ": ", strerror(errno));
    if (n <= 0) return file;
    file.text.append(block, n);
    if (file.text.size() > kMostBytes) {
      file.unreadable = absl::StrCat(file_, " has more than ", kMostBytes, " bytes");
      return file;
    }
  }
}

// A version that is not loaded is no fault of the file at the start: models come and go, and who
// has been sent to one that is gone is answered by the next.
void RoutesDesk::TakeFile(bool first) {
  FileText file = ReadFile();
  file_faults_.clear();
  if (!file.unreadable.empty()) {
    file_faults_.push_back(file.unreadable);
  } else {
    RoutesResult read;
    if (file.there) read = ReadRoutes(file.text);
    for (const std::string& fault : FormatFaults("routes.yaml", read.faults)) {
      file_faults_.push_back(fault);
    }
    if (read.faults.empty()) {
      RouteFaults faults = CheckRoutes(read.routes, *catalog_);
      file_faults_ = std::move(faults.wrong);
      // The first file of all says what is served to begin with.
      if (!first || !journal_.changes().empty()) {
        for (std::string& fault : read_only().Faults(*routes_, read.routes)) {
          file_faults_.push_back(std::move(fault));
        }
      }
      const bool fatal = !first && file.text != known_.text;
      for (std::string& fault : faults.missing) {
        Log(LogLevel::kWarning, "route_without_version", {{"why", fault}});
        if (fatal) file_faults_.push_back(std::move(fault));
      }
    }
    if (file_faults_.empty()) {
      RecordFile(read.routes);
      known_ = std::move(file);
      not_kept_.clear();
      return;
    }
  }
  for (const std::string& fault : file_faults_) {
    Log(LogLevel::kError, "routes_refused", {{"why", fault}});
  }
  if (first) known_ = std::move(file);
}

// What the file says and the journal does not know.
void RoutesDesk::RecordFile(const Routes& now) {
  const std::map<std::string, NamedRoute> before = ByName(*routes_), after = ByName(now);
  std::vector<std::string> changed;
  for (const auto& [name, route] : after) {
    const auto old = before.find(name);
    if (old == before.end() || old->second.SerializeAsString() != route.SerializeAsString())
      changed.push_back(name);
  }
  for (const auto& [name, route] : before) {
    if (after.count(name) == 0) changed.push_back(name);
  }
  if (changed.empty()) return;
  Routes routes = now;
  routes.set_generation(routes_->generation() + 1);
  for (const std::string& name : changed) {
    RouteChange change;
    change.generation = routes.generation();
    change.wall_ms = host_.wall_ms();
    change.who = change.action = "file";
    change.why = "routes.yaml was changed by hand";
    change.name = name;
    if (before.count(name) > 0) change.before = before.at(name);
    if (after.count(name) > 0) change.after = after.at(name);
    journal_.Note(change);
    const absl::Status kept = journal_.Write(change);
    if (!kept.ok()) Log(LogLevel::kError, "routes_journal", {{"why", kept.ToString()}});
  }
  routes_ = std::make_shared<const Routes>(std::move(routes));
}

void RoutesDesk::KeepAll() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return end_ || !to_keep_.empty(); });
    if (to_keep_.empty()) return;
    std::vector<ToKeep> batch = std::exchange(to_keep_, {});
    const std::shared_ptr<const Routes> routes = routes_;
    keeping_ = true;
    lock.unlock();
    absl::Status kept = Keep(*routes);
    for (const ToKeep& each : batch) kept.Update(journal_.Write(each.change));
    lock.lock();
    keeping_ = false;
    not_kept_ = kept.ok() ? "" : std::string(kept.message());
    if (kept.ok()) file_faults_.clear();
    RouteOutcome outcome;
    if (!kept.ok()) outcome.message = absl::StrCat("in force, not kept: ", not_kept_);
    std::vector<std::string> lists;
    for (const ToKeep& each : batch) lists.push_back(List(each.change.name));
    idle_.notify_all();
    lock.unlock();
    for (size_t i = 0; i < batch.size(); ++i) {
      const ToKeep& each = batch[i];
      outcome.reply_json = std::move(lists[i]);
      Log(LogLevel::kInfo, "route_changed",
          {{"name", each.change.name},
           {"action", each.change.action},
           {"who", each.change.who},
           {"why", Printable(each.change.why)},
           {"generation", each.change.generation},
           {"kept", kept.ok() ? "yes" : std::string(kept.message())}});
      outcome.generation = each.change.generation;
      each.done(outcome);
    }
    lock.lock();
  }
}

absl::Status RoutesDesk::Keep(const Routes& routes) {
  const FileText file = ReadFile();
  if (file.there && file.unreadable.empty() && file.text != known_.text) {
    const std::string aside = file_ + kByHand;
    if (rename(file_.c_str(), aside.c_str()) == 0) {
      Log(LogLevel::kWarning, "routes_changed_by_hand", {{"kept_as", aside}});
    }
  }
  std::string text = WriteRoutes(routes);
  const absl::Status written = WriteWholeFile(file_, text, 0644, /*may_replace=*/true);
  if (!written.ok()) return written;
  SyncFolderOf(file_);
  known_ = {true, std::move(text), ""};
  return absl::OkStatus();
}

}  // namespace millrace
