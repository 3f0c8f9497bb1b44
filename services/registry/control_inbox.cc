#include "services/registry/control_inbox.h"

#include <poll.h>
#include <sys/eventfd.h>

#include "common/check.h"
#include "common/short_slices.h"

namespace millrace {

void ControlInbox::Stop() {
  if (!reader_.joinable()) return;
  eventfd_write(stop_.get(), 1);
  reader_.join();
}

void ControlInbox::Start(Handler handler) {
  handler_ = std::move(handler);
  wake_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  stop_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  MR_CHECK(wake_.valid() && stop_.valid(), "a registry that starts has descriptors left");
  reader_ = std::thread([this] {
    AskForSlice(kShortSliceNs);  // a change of routes does not wait for a load, nor for who serves
    Read();
  });
}

void ControlInbox::Read() {
  while (true) {
    pollfd fds[] = {{channel_.fd(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) continue;
    if (fds[1].revents != 0) return;
    const bool more = ReadAll();
    eventfd_write(wake_.get(), 1);
    if (!more) return;
  }
}

bool ControlInbox::ReadAll() {
  while (true) {
    Item item;
    const absl::StatusOr<bool> received = channel_.Receive(&item.message, &item.fds);
    if (received.ok() && !*received) return true;
    if (received.ok() && handler_(item.message)) continue;
    std::lock_guard<std::mutex> lock(mutex_);
    if (!received.ok()) {
      end_ = received.status();
      return false;
    }
    queue_.push_back(std::move(item));
  }
}

absl::StatusOr<bool> ControlInbox::Receive(ToProcess* message, std::vector<Fd>* fds) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (queue_.empty() && !end_.ok()) return end_;
  if (queue_.empty()) {
    eventfd_t count;
    eventfd_read(wake_.get(), &count);
    return false;
  }
  *message = std::move(queue_.front().message);
  *fds = std::move(queue_.front().fds);
  queue_.pop_front();
  return true;
}

bool ControlInbox::Send(const FromProcess& message, absl::Span<const int> fds) {
  std::lock_guard<std::mutex> lock(send_mutex_);
  while (true) {
    const absl::Status status = channel_.Send(message, fds);
    if (status.ok()) return true;
    if (!absl::IsResourceExhausted(status)) return false;
    pollfd socket = {channel_.fd(), POLLOUT, 0};
    poll(&socket, 1, -1);
  }
}

}  // namespace millrace
