// A client's shared memory, for tests: a name of this process's own under /dev/shm, removed at the
// end. Nothing outside tests uses it.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "common/check.h"
#include "services/ingress/client_shm/regions.h"

namespace millrace {

class SharedMemory {
 public:
  explicit SharedMemory(const std::string& bytes, const std::string& word = "mr_test")
      : key_("/" + word + "_" + std::to_string(getpid()) + "_" + std::to_string(++count_)) {
    fd_ = shm_open(key_.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
    MR_CHECK(fd_ >= 0, "a test's shared memory is its own");
    Set(bytes);
  }
  ~SharedMemory() {
    shm_unlink(key_.c_str());
    close(fd_);
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  const std::string& key() const { return key_; }
  std::string path() const { return "/dev/shm" + key_; }
  int fd() const { return fd_; }
  void Truncate(size_t bytes) {
    MR_CHECK(ftruncate(fd_, static_cast<off_t>(bytes)) == 0, "a file of ours");
  }
  void Set(const std::string& bytes) {
    Truncate(bytes.size());
    MR_CHECK(pwrite(fd_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()),
             "a file of ours");
  }
  size_t size() const {
    struct stat file;
    MR_CHECK(fstat(fd_, &file) == 0, "a file of ours");
    return static_cast<size_t>(file.st_size);
  }
  std::string Bytes() const {
    std::string bytes(size(), '\0');
    MR_CHECK(pread(fd_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()),
             "a file of ours");
    return bytes;
  }

 private:
  static inline int count_ = 0;
  std::string key_;
  int fd_ = -1;
};

// Regions of which one is registered, "r" of 16 bytes, for what runs until the process's end: its
// file has no name any more.
inline const ClientRegions* OneRegionForTest() {
  static const ClientRegions* const regions = [] {
    const SharedMemory memory("12345678abcdefgh");
    ClientRegionsOptions options;
    options.allowed = true;
    auto* made = new ClientRegions(options);
    MR_CHECK(made->Register("r", memory.key(), 0, 16).ok(), "a region of ours");
    return made;
  }();
  return regions;
}

}  // namespace millrace
