#include "services/runtime/outbox.h"

#include <sys/eventfd.h>

#include <utility>

#include "common/check.h"

namespace millrace {

Outbox::Outbox() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  MR_CHECK(wake_.valid(), "no descriptor left for the outbox");
}

void Outbox::Send(FromProcess message, Fd fd) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    items_.push_back({std::move(message), std::move(fd)});
  }
  eventfd_write(wake_.get(), 1);
}

std::vector<Outbox::Item> Outbox::Take() {
  eventfd_t ignored;
  eventfd_read(wake_.get(), &ignored);
  std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(items_, {});
}

}  // namespace millrace
