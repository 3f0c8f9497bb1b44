#include "services/registry/write_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "ipc/fd.h"

namespace millrace {
namespace {

absl::Status Failed(const std::string& path, int error) {
  if (error == EEXIST) return absl::AlreadyExistsError(path + " is there already");
  return absl::UnavailableError(absl::StrCat(path, " cannot be written: ", strerror(error)));
}

}  // namespace

absl::Status WriteWholeFile(const std::string& path, std::string_view content, mode_t mode,
                            bool may_replace) {
  // Its name begins with a dot, so nobody takes it for a version's file.
  const size_t name = path.rfind('/') + 1;
  const std::string beside =
      absl::StrCat(path.substr(0, name), ".", path.substr(name), ".", getpid());
  const Fd file(open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!file.valid()) return Failed(path, errno);
  auto remove = absl::MakeCleanup([&beside] { unlink(beside.c_str()); });
  for (size_t done = 0; done < content.size();) {
    const ssize_t n = write(file.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed(path, errno);
    done += n;
  }
  if (fsync(file.get()) != 0) return Failed(path, errno);
  if (may_replace) {
    if (rename(beside.c_str(), path.c_str()) != 0) return Failed(path, errno);
    std::move(remove).Cancel();
    return absl::OkStatus();
  }
  // A link never takes the place of what is there.
  if (link(beside.c_str(), path.c_str()) != 0) return Failed(path, errno);
  return absl::OkStatus();
}

}  // namespace millrace
