// A file descriptor with one owner.
//
// Purpose: every descriptor is closed exactly once. Who may call: any thread, one at a time for an
//   object. Invariant: get() is -1 or an open descriptor that only this object closes.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <utility>

namespace millrace {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }
  // Another descriptor of the same open file, closed on exec; invalid where the table is full.
  Fd Duplicate() const { return Fd(fcntl(fd_, F_DUPFD_CLOEXEC, 0)); }

 private:
  int fd_ = -1;
};

}  // namespace millrace
