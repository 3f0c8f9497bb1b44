#include "services/simulation/doorbells.h"

#include <sys/eventfd.h>

#include <utility>

namespace millrace::sim {

Doorbells::Heard Doorbells::heard_;
std::vector<uint32_t> Doorbells::owners_;

void Doorbells::Open(Heard heard) { heard_ = std::move(heard); }

void Doorbells::Close() {
  heard_ = nullptr;
  owners_.assign(owners_.size(), 0);
}

void Doorbells::Register(int fd, uint32_t incarnation) {
  if (owners_.size() <= static_cast<size_t>(fd)) owners_.resize(fd + 64);
  owners_[fd] = incarnation;
}

bool Doorbells::IsOurs(int fd) {
  return fd >= 0 && static_cast<size_t>(fd) < owners_.size() && owners_[fd] != 0;
}

bool Doorbells::Ring(int fd) {
  if (!IsOurs(fd)) return false;
  if (heard_) heard_(owners_[fd]);
  return true;
}

}  // namespace millrace::sim

extern "C" {

int __real_eventfd_write(int fd, eventfd_t value);
int __real_eventfd_read(int fd, eventfd_t* value);

int __wrap_eventfd_write(int fd, eventfd_t value) {
  return millrace::sim::Doorbells::Ring(fd) ? 0 : __real_eventfd_write(fd, value);
}

int __wrap_eventfd_read(int fd, eventfd_t* value) {
  if (!millrace::sim::Doorbells::IsOurs(fd)) return __real_eventfd_read(fd, value);
  *value = 0;
  return -1;
}

}  // extern "C"
