#include "services/registry/watch/tree_scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

constexpr size_t kMaxEntries = 10'000;  // of one folder; as Repository's
constexpr size_t kMaxVersionDigits = 9;
constexpr int kFolder = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};

// Sorted names, without those that begin with a dot. Negative: errno.
int ReadNames(Fd folder, std::vector<std::string>* names) {
  const std::unique_ptr<DIR, CloseDirectory> directory(fdopendir(folder.get()));
  if (directory == nullptr) return -errno;
  folder.release();  // the directory's now
  errno = 0;
  while (const dirent* entry = readdir(directory.get())) {
    if (entry->d_name[0] != '.') names->emplace_back(entry->d_name);
    if (names->size() > kMaxEntries) return -E2BIG;
    errno = 0;
  }
  if (errno != 0) return -errno;
  std::sort(names->begin(), names->end());
  return 0;
}

std::string Unreadable(int error) { return absl::StrCat("cannot be read: ", strerror(error)); }

void AddPrint(const std::string& name, const struct stat& info, std::string* print) {
  absl::StrAppend(print, name, " ", info.st_mode, " ", info.st_ino, " ", info.st_nlink, " ",
                  info.st_size, " ", info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec, " ",
                  info.st_ctim.tv_sec, ".", info.st_ctim.tv_nsec, "\n");
}

std::string PrintVersion(int model, const std::string& name) {
  Fd folder(openat(model, name.c_str(), kFolder));
  if (!folder.valid()) return Unreadable(errno);
  const Fd version(fcntl(folder.get(), F_DUPFD_CLOEXEC, 0));
  std::vector<std::string> names;
  if (const int error = ReadNames(std::move(folder), &names)) return Unreadable(-error);
  std::string print;
  for (const std::string& file : names) {
    struct stat info;
    // Through symbolic links: they may lead about inside the repository.
    if (fstatat(version.get(), file.c_str(), &info, 0) != 0) {
      absl::StrAppend(&print, file, " ", Unreadable(errno), "\n");
    } else {
      AddPrint(file, info, &print);
    }
  }
  return print;
}

}  // namespace

std::optional<int64_t> VersionOfName(const std::string& name) {
  int64_t number = 0;
  const bool digits =
      std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (name.empty() || name[0] == '0' || name.size() > kMaxVersionDigits || !digits ||
      !absl::SimpleAtoi(name, &number)) {
    return std::nullopt;
  }
  return number;
}

absl::StatusOr<RootScan> RootScan::Open(const std::string& root) {
  Fd fd(open(root.c_str(), kFolder));
  struct stat info;
  if (!fd.valid() || fstat(fd.get(), &info) != 0) return absl::UnavailableError(strerror(errno));
  RootScan scan(std::move(fd));
  scan.identity_ = {info.st_dev, info.st_ino};
  return scan;
}

absl::StatusOr<std::vector<std::string>> RootScan::Models() const {
  Fd folder(openat(fd_.get(), ".", kFolder));
  if (!folder.valid()) return absl::UnavailableError(strerror(errno));
  std::vector<std::string> names;
  if (const int error = ReadNames(std::move(folder), &names)) {
    return absl::UnavailableError(strerror(-error));
  }
  std::erase_if(names, [&](const std::string& name) {
    struct stat info;
    return fstatat(fd_.get(), name.c_str(), &info, 0) == 0 && !S_ISDIR(info.st_mode);
  });
  return names;
}

std::optional<ModelPrint> RootScan::Model(const std::string& name) const {
  ModelPrint print;
  Fd folder(openat(fd_.get(), name.c_str(), kFolder));
  if (!folder.valid()) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    print.files = Unreadable(errno);
    return print;
  }
  const Fd model(fcntl(folder.get(), F_DUPFD_CLOEXEC, 0));
  std::vector<std::string> names;
  if (const int error = ReadNames(std::move(folder), &names)) {
    print.files = Unreadable(-error);
    return print;
  }
  for (const std::string& file : names) {
    struct stat info;
    if (fstatat(model.get(), file.c_str(), &info, 0) != 0) {
      absl::StrAppend(&print.files, file, " ", Unreadable(errno), "\n");
      continue;
    }
    const std::optional<int64_t> version = VersionOfName(file);
    if (!S_ISDIR(info.st_mode)) {
      AddPrint(file, info, &print.files);
    } else if (version.has_value()) {
      print.versions[*version] = PrintVersion(model.get(), file);
    } else {
      absl::StrAppend(&print.files, file, "/\n");
    }
  }
  return print;
}

std::string RootScan::WhyNotNotified() const {
  struct statfs info;
  if (fstatfs(fd_.get(), &info) != 0) return absl::StrCat("statfs: ", strerror(errno));
  const std::string kind = RemoteFileSystem(static_cast<uint64_t>(info.f_type) & 0xffffffff);
  return kind.empty() ? "" : absl::StrCat("it lies on ", kind);
}

std::string RemoteFileSystem(uint64_t magic) {
  constexpr struct {
    uint64_t magic;
    const char* name;
  } kRemote[] = {
      {0x6969, "NFS"},      {0x517B, "SMB"},        {0xFF534D42, "CIFS"},   {0xFE534D42, "SMB"},
      {0x65735546, "FUSE"}, {0x01021997, "9P"},     {0x00C36400, "Ceph"},   {0x5346414F, "AFS"},
      {0x6B414653, "AFS"},  {0x0BD00BD0, "Lustre"}, {0x47504653, "GPFS"},   {0x7461636F, "OCFS2"},
      {0x01161970, "GFS2"}, {0x19830326, "BeeGFS"}, {0x786F4256, "vboxsf"}, {0x73757245, "Coda"},
      {0xBACBACBC, "hgfs"},
  };
  for (const auto& [number, name] : kRemote) {
    if (number == magic) return name;
  }
  return "";
}

}  // namespace millrace
