#include "services/registry/repository.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

constexpr size_t kMaxEntries = 10'000;  // of one folder; more is no repository
constexpr size_t kMaxVersionDigits = 9;

absl::Status OpenError(const std::string& path, int error) {
  const std::string name = Printable(path);
  if (error == ENOENT) return absl::NotFoundError(absl::StrCat(name, " does not exist"));
  if (error == EXDEV) {
    return absl::PermissionDeniedError(
        absl::StrCat(name, " leads out of the repository by a symbolic link"));
  }
  if (error == ELOOP) {
    return absl::PermissionDeniedError(absl::StrCat(name, " leads through a symbolic link"));
  }
  return absl::InvalidArgumentError(absl::StrCat(name, " cannot be opened: ", strerror(error)));
}

// Below `root`, without ever leaving it. Returns -1 and sets errno.
int OpenBeneath(int root, const char* path, uint64_t flags, uint64_t resolve = 0) {
  open_how how = {};
  how.flags = flags | O_RDONLY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve;
  long fd;
  do {  // EAGAIN: something was renamed while ".." was resolved
    fd = syscall(SYS_openat2, root, path, &how, sizeof how);
  } while (fd < 0 && (errno == EINTR || errno == EAGAIN));
  return static_cast<int>(fd);
}

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};

// Sorted names of a folder, without those that begin with a dot.
absl::StatusOr<std::vector<std::string>> Names(Fd folder, const std::string& path) {
  std::unique_ptr<DIR, CloseDirectory> directory(fdopendir(folder.get()));
  if (directory == nullptr) return OpenError(path, errno);
  folder.release();  // the directory's now
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(directory.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    if (names.size() > kMaxEntries) {
      return absl::InvalidArgumentError(
          absl::StrCat(Printable(path), " has more than ", kMaxEntries, " entries"));
    }
    errno = 0;
  }
  if (errno != 0) return OpenError(path, errno);
  std::sort(names.begin(), names.end());
  return names;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

absl::StatusOr<Repository> Repository::Open(const std::string& root) {
  Fd fd(open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.valid()) return Repository(std::move(fd));
  const int error = errno;
  return absl::NotFoundError(absl::StrCat(
      "repository: ", Printable(root), error == ENOENT ? " does not exist" : " cannot be opened: ",
      error == ENOENT ? "" : strerror(error)));
}

absl::StatusOr<Repository::Listing> Repository::ListModels() const {
  const std::string what = "the repository";
  Fd folder(OpenBeneath(root_.get(), ".", O_DIRECTORY));
  if (!folder.valid()) return OpenError(what, errno);
  absl::StatusOr<std::vector<std::string>> names = Names(std::move(folder), what);
  if (!names.ok()) return names.status();
  Listing listing;
  for (const std::string& name : *names) {
    const Fd model(OpenBeneath(root_.get(), name.c_str(), O_DIRECTORY));
    if (!model.valid()) {
      if (errno != ENOTDIR && errno != ENOENT) {
        listing.refused.push_back({Printable(name), std::string(OpenError(name, errno).message())});
      }
    } else if (IsPlainName(name)) {
      listing.models.push_back(name);
    } else {
      listing.refused.push_back(
          {Printable(name), "a model's folder is named with at most 128 of A-Z a-z 0-9 _ . -"});
    }
  }
  return listing;
}

absl::StatusOr<std::vector<int64_t>> Repository::ListVersions(const std::string& model) const {
  MR_CHECK(IsPlainName(model), "a model's name was checked when it was listed");
  Fd folder(OpenBeneath(root_.get(), model.c_str(), O_DIRECTORY));
  if (!folder.valid()) return OpenError(model, errno);
  absl::StatusOr<std::vector<std::string>> names = Names(std::move(folder), model);
  if (!names.ok()) return names.status();
  std::vector<int64_t> versions;
  for (const std::string& name : *names) {
    if (!IsDigit(name[0])) continue;
    const std::string path = absl::StrCat(model, "/", name);
    const Fd version(OpenBeneath(root_.get(), path.c_str(), O_DIRECTORY));
    if (!version.valid()) {
      if (errno == ENOTDIR) continue;
      return OpenError(path, errno);
    }
    int64_t number = 0;
    if (name[0] == '0' || name.size() > kMaxVersionDigits ||
        !std::all_of(name.begin(), name.end(), IsDigit) || !absl::SimpleAtoi(name, &number)) {
      return absl::InvalidArgumentError(
          absl::StrCat("version folder ", Printable(name),
                       " is not a number from 1 to 999999999 without leading zeros"));
    }
    versions.push_back(number);
  }
  std::sort(versions.begin(), versions.end());
  return versions;
}

absl::StatusOr<Fd> Repository::OpenFile(const std::string& path, Links links) const {
  // Without O_NONBLOCK a named pipe would hold the open until somebody writes to it.
  Fd file(OpenBeneath(root_.get(), path.c_str(), O_NONBLOCK | O_NOCTTY,
                      links == Links::kNone ? RESOLVE_NO_SYMLINKS : 0));
  if (!file.valid()) return OpenError(path, errno);
  struct stat info;
  if (fstat(file.get(), &info) != 0) return OpenError(path, errno);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(Printable(path), " is not a regular file"));
  }
  if (links == Links::kNone && info.st_nlink == 0) {
    return absl::AbortedError(absl::StrCat(Printable(path), " was replaced while it was opened"));
  }
  if (links == Links::kNone && info.st_nlink != 1) {
    return absl::PermissionDeniedError(
        absl::StrCat(Printable(path), " has another name (a hard link), so others can change it"));
  }
  return file;
}

absl::StatusOr<std::string> Repository::ReadText(const std::string& path, size_t max_bytes,
                                                 Links links) const {
  absl::StatusOr<Fd> file = OpenFile(path, links);
  if (!file.ok()) return file.status();
  // No more than the file needs: clearing what the largest could take is work beside what serves.
  constexpr size_t kStep = 16 << 10;
  std::string text;
  size_t size = 0;
  while (size <= max_bytes) {
    if (size == text.size()) text.resize(std::min(size + std::max(size, kStep), max_bytes + 1));
    const ssize_t n = read(file->get(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return OpenError(path, errno);
    if (n == 0) break;
    size += n;
  }
  if (size > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(Printable(path), " is larger than ", max_bytes, " bytes"));
  }
  text.resize(size);
  return text;
}

}  // namespace millrace
