#include "services/registry/watch/inotify_source.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "services/registry/watch/tree_scan.h"

namespace millrace {
namespace {

constexpr uint32_t kChanges = IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVED_FROM |
                              IN_MOVED_TO | IN_DELETE | IN_MOVE_SELF | IN_DELETE_SELF;
constexpr char kManifestName[] = "manifest.yaml";

}  // namespace

absl::StatusOr<InotifySource> InotifySource::Open() {
  Fd fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd.valid()) return absl::ResourceExhaustedError(absl::StrCat("inotify: ", strerror(errno)));
  return InotifySource(std::move(fd));
}

absl::Status InotifySource::Add(const std::string& path, const std::string& model,
                                int64_t version) {
  const int watch =
      inotify_add_watch(fd_.get(), path.c_str(), kChanges | IN_ONLYDIR | IN_EXCL_UNLINK);
  if (watch >= 0) {
    folders_[watch] = {model, version};
    return absl::OkStatus();
  }
  // Gone again, or not to be read: the scan says so.
  if (errno == ENOENT || errno == ENOTDIR || errno == EACCES) return absl::OkStatus();
  const char* const hint = errno == ENOSPC ? " (fs.inotify.max_user_watches)" : "";
  return absl::ResourceExhaustedError(absl::StrCat("inotify: ", strerror(errno), hint));
}

InotifySource::Heard InotifySource::Read() {
  Heard heard;
  alignas(inotify_event) char buffer[16 * 1024];
  while (true) {
    const ssize_t n = read(fd_.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return heard;
    for (const char* at = buffer; at < buffer + n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(at);
      const std::string name = event->len > 0 ? event->name : "";
      Take(event->wd, event->mask, name, &heard);
      at += sizeof *event + event->len;
    }
  }
}

void InotifySource::Take(int watch, uint32_t mask, const std::string& name, Heard* heard) {
  if ((mask & IN_Q_OVERFLOW) != 0) heard->lost = true;
  const auto found = folders_.find(watch);
  if (found == folders_.end()) return;
  const Folder folder = found->second;
  if ((mask & IN_IGNORED) != 0) folders_.erase(found);
  if ((mask & (IN_UNMOUNT | IN_IGNORED)) != 0) heard->lost = true;
  if (!name.empty() && name[0] == '.') return;
  const bool is_folder = (mask & IN_ISDIR) != 0;
  const bool moved_here = (mask & IN_MOVED_TO) != 0;
  if (folder.model.empty()) {
    // The root: of itself nothing is said that its owner does not see when it looks.
    if (!name.empty()) heard->events.push_back({name, 0, true, moved_here && is_folder});
  } else if (folder.version == 0) {
    const std::optional<int64_t> version = VersionOfName(name);
    heard->events.push_back(
        {folder.model, version.value_or(0), false, moved_here && is_folder && version.has_value()});
  } else {
    heard->events.push_back(
        {folder.model, folder.version, false, moved_here && name == kManifestName});
  }
}

}  // namespace millrace
