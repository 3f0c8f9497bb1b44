#include "services/ingress/client_shm/regions.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace millrace {
namespace {

constexpr size_t kMaxNameBytes = 256;
constexpr size_t kMaxKeyBytes = 255;  // of a file's name

absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

std::string Quoted(std::string_view name) {
  return absl::StrCat("\"", Abseil(name.substr(0, 128)), "\"");
}

absl::Status NotRegistered(std::string_view name) {
  return absl::NotFoundError(absl::StrCat("name: no region ", Quoted(name), " is registered"));
}

// Whether the server's user may read and write by the file's mode: as its owner, as one of its
// group, or as everybody.
bool ModeAllowsUs(const struct stat& file) {
  const auto has = [&](mode_t bits) { return (file.st_mode & bits) == bits; };
  if (file.st_uid == geteuid()) return has(S_IRUSR | S_IWUSR);
  if (file.st_gid == getegid()) return has(S_IRGRP | S_IWGRP);
  return has(S_IROTH | S_IWOTH);
}

// Whether `offset + bytes` is at most `size`.
bool Fits(uint64_t offset, uint64_t bytes, uint64_t size) {
  return offset <= size && bytes <= size - offset;
}

absl::Status TooShort(const ClientRegion& region) {
  return absl::InvalidArgumentError(absl::StrCat("shared_memory_region: the file of ",
                                                 Quoted(region.name()),
                                                 " is shorter than was registered"));
}

}  // namespace

ClientRegion::~ClientRegion() { close(fd_); }

absl::Status RegionPlace::AppendTo(std::string* out) const {
  const size_t begin = out->size();
  out->resize(begin + bytes_);
  size_t done = 0;
  while (done < bytes_) {
    const ssize_t n = pread(region_->fd(), out->data() + begin + done, bytes_ - done,
                            static_cast<off_t>(region_->offset() + offset_ + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      out->resize(begin);
      return TooShort(*region_);
    }
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status RegionPlace::Write(std::string_view data) const {
  if (data.size() > bytes_) {
    return absl::InvalidArgumentError(absl::StrCat("shared_memory_byte_size: ", bytes_,
                                                   " bytes, and the output has ", data.size()));
  }
  const uint64_t at = region_->offset() + offset_;
  struct stat file;
  if (fstat(region_->fd(), &file) != 0 || file.st_size < 0 ||
      !Fits(at, data.size(), static_cast<uint64_t>(file.st_size))) {
    return TooShort(*region_);
  }
  size_t done = 0;
  while (done < data.size()) {
    const ssize_t n = pwrite(region_->fd(), data.data() + done, data.size() - done,
                             static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "shared_memory_region: the file of ", Quoted(region_->name()), " could not be written"));
    }
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::Status ClientRegions::CheckAllowed() const {
  if (options_.allowed) return absl::OkStatus();
  return absl::UnimplementedError(
      "shared memory of clients is off; the server's configuration turns it on with "
      "ingress.allow_client_shm");
}

// Opens what the key names, if it is what may be registered.
absl::StatusOr<int> ClientRegions::OpenKey(std::string_view key, uint64_t offset,
                                           uint64_t bytes) const {
  const auto fault = [](absl::string_view sentence) {
    return absl::InvalidArgumentError(absl::StrCat("key: ", sentence));
  };
  // POSIX writes the name of shared memory with one slash before it.
  if (key.starts_with('/')) key.remove_prefix(1);
  if (key.empty() || key.size() > kMaxKeyBytes || key == "." || key == ".." ||
      key.find('/') != std::string_view::npos || key.find('\0') != std::string_view::npos) {
    return fault("must be the name of a shared-memory object, with no slash but a first one");
  }
  const auto allows = [&](const std::string& prefix) { return key.starts_with(prefix); };
  if (!options_.prefixes.empty() &&
      std::none_of(options_.prefixes.begin(), options_.prefixes.end(), allows)) {
    return fault("its beginning is not one that the server's configuration allows");
  }
  const int folder = open(options_.folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return absl::UnavailableError("key: shared memory cannot be opened now");
  struct stat folder_stat, file;
  const int folder_known = fstat(folder, &folder_stat);
  const int fd = openat(folder, std::string(key).c_str(),
                        O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  const int error = errno;
  close(folder);
  if (fd < 0) {
    if (error == EMFILE || error == ENFILE || error == ENOMEM) {
      return absl::ResourceExhaustedError("key: the server has no descriptor left");
    }
    return fault(error == ENOENT ? "there is no such shared memory"
                                 : "it cannot be opened for reading and writing");
  }
  absl::Status status;
  if (folder_known != 0 || fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) || file.st_nlink != 1 ||
      file.st_dev != folder_stat.st_dev) {
    status = fault("it is not a plain shared-memory object");
  } else if (!ModeAllowsUs(file)) {
    status = fault("its mode does not let the server's user read and write it");
  } else if (file.st_size < 0 || !Fits(offset, bytes, static_cast<uint64_t>(file.st_size))) {
    status =
        absl::InvalidArgumentError(absl::StrCat("byte_size: ", bytes, " bytes from offset ", offset,
                                                " do not fit the shared memory's ", file.st_size));
  }
  if (status.ok()) return fd;
  close(fd);
  return status;
}

absl::Status ClientRegions::Register(std::string_view name, std::string_view key, uint64_t offset,
                                     uint64_t bytes) {
  if (absl::Status status = CheckAllowed(); !status.ok()) return status;
  if (name.empty() || name.size() > kMaxNameBytes) {
    return absl::InvalidArgumentError("name: must have 1 to 256 bytes");
  }
  if (bytes == 0) return absl::InvalidArgumentError("byte_size: must be more than 0");
  const absl::StatusOr<int> fd = OpenKey(key, offset, bytes);
  if (!fd.ok()) return fd.status();
  // Closes the descriptor again where the table does not take it.
  auto region =
      std::make_shared<const ClientRegion>(std::string(name), std::string(key), offset, bytes, *fd);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (regions_.find(name) != regions_.end()) {
    return absl::AlreadyExistsError(
        absl::StrCat("name: a region ", Quoted(name), " is registered already"));
  }
  if (regions_.size() >= options_.max_regions) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "name: ", options_.max_regions, " regions are registered, and no more may be"));
  }
  regions_.emplace(std::string(name), std::move(region));
  return absl::OkStatus();
}

absl::Status ClientRegions::Unregister(std::string_view name) {
  if (absl::Status status = CheckAllowed(); !status.ok()) return status;
  decltype(regions_) gone;  // closed after the mutex is let go
  const std::lock_guard<std::mutex> lock(mutex_);
  if (name.empty()) {
    gone.swap(regions_);
    return absl::OkStatus();
  }
  const auto found = regions_.find(name);
  if (found == regions_.end()) return NotRegistered(name);
  gone.insert(regions_.extract(found));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::shared_ptr<const ClientRegion>>> ClientRegions::Status(
    std::string_view name) const {
  if (absl::Status status = CheckAllowed(); !status.ok()) return status;
  std::vector<std::shared_ptr<const ClientRegion>> list;
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& [key, region] : regions_) {
    if (name.empty() || key == name) list.push_back(region);
  }
  if (list.empty() && !name.empty()) return NotRegistered(name);
  return list;
}

absl::StatusOr<RegionPlace> ClientRegions::Find(std::string_view name, uint64_t offset,
                                                uint64_t bytes) const {
  if (absl::Status status = CheckAllowed(); !status.ok()) {
    return absl::UnimplementedError(absl::StrCat("shared_memory_region: ", status.message()));
  }
  std::shared_ptr<const ClientRegion> region;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = regions_.find(name);
    if (found != regions_.end()) region = found->second;
  }
  if (region == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("shared_memory_region: no region ", Quoted(name), " is registered"));
  }
  if (!Fits(offset, bytes, region->bytes())) {
    return absl::InvalidArgumentError(absl::StrCat("shared_memory_byte_size: ", bytes,
                                                   " bytes from offset ", offset,
                                                   " do not fit the region's ", region->bytes()));
  }
  return RegionPlace(std::move(region), offset, bytes);
}

absl::Status ClientRegions::ReadInput(std::string_view name, uint64_t offset, uint64_t bytes,
                                      size_t* taken, std::string* out) const {
  const absl::StatusOr<RegionPlace> place = Find(name, offset, bytes);
  if (!place.ok()) return place.status();
  if (!Fits(*taken, bytes, options_.max_request_bytes)) {
    return absl::ResourceExhaustedError(absl::StrCat("shared_memory_byte_size: over the limit of ",
                                                     options_.max_request_bytes,
                                                     " bytes for a request"));
  }
  *taken += bytes;
  return place->AppendTo(out);
}

absl::Status ClientRegions::CheckCudaStatus(std::string_view name) const {
  if (absl::Status status = CheckAllowed(); !status.ok()) return status;
  return name.empty() ? absl::OkStatus() : NotRegistered(name);
}

absl::Status ClientRegions::RefuseCuda() const {
  if (absl::Status status = CheckAllowed(); !status.ok()) return status;
  return absl::UnimplementedError(
      "shared memory of a CUDA device is not supported; register system shared memory");
}

std::vector<std::string> SplitPrefixes(std::string_view list) {
  return absl::StrSplit(Abseil(list), ',', absl::SkipEmpty());
}

absl::Status WriteOutputs(const InferAnswer& answer, std::vector<OutputPlace>* places,
                          std::vector<TensorView>* rest) {
  rest->assign(answer.outputs.begin(), answer.outputs.end());
  for (OutputPlace& place : *places) {
    if (place.output >= rest->size()) return absl::InternalError("outputs: one did not come");
    TensorView& output = (*rest)[place.output];
    if (absl::Status status = place.place.Write(output.raw); !status.ok()) {
      return absl::Status(status.code(), absl::StrCat("outputs[", place.output, "] ",
                                                      Quoted(output.name), ": ", status.message()));
    }
    place.written = output.raw.size();
    output.raw = {};
  }
  return absl::OkStatus();
}

}  // namespace millrace
