#include "services/supervisor/event_loop.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace millrace {

absl::StatusOr<EventLoop> EventLoop::Create() {
  EventLoop loop;
  loop.epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
  if (!loop.epoll_.valid()) {
    return absl::ResourceExhaustedError(absl::StrCat("epoll_create1: ", strerror(errno)));
  }
  return loop;
}

absl::Status EventLoop::Add(int fd, uint32_t events, Callback callback) {
  epoll_event event = {};
  event.events = events;
  event.data.fd = fd;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("epoll_ctl: ", strerror(errno)));
  }
  entries_[fd] = std::make_shared<Entry>(Entry{next_id_++, std::move(callback)});
  return absl::OkStatus();
}

void EventLoop::Change(int fd, uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.fd = fd;
  MR_CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0, "a descriptor of the loop");
}

void EventLoop::Remove(int fd) {
  if (entries_.erase(fd) > 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void EventLoop::RunOnce() {
  constexpr int kBatch = 32;
  epoll_event events[kBatch];
  // A number above all that exist now marks what is added by a callback of this round: an event
  // fetched for an old descriptor must not reach a new one of the same number.
  const uint64_t first_new_id = next_id_;
  const int count = epoll_wait(epoll_.get(), events, kBatch, -1);
  MR_CHECK(count >= 0 || errno == EINTR, "epoll_wait works on an epoll of ours");
  for (int i = 0; i < count; ++i) {
    const auto it = entries_.find(events[i].data.fd);
    if (it == entries_.end() || it->second->id >= first_new_id) continue;
    const std::shared_ptr<Entry> entry = it->second;  // it may remove itself
    entry->callback(events[i].events);
  }
}

}  // namespace millrace
