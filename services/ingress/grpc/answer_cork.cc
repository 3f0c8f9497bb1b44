#include "services/ingress/grpc/answer_cork.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>

namespace millrace {

void AnswerCork::Add(int fd) {
  std::lock_guard<std::mutex> lock(mutex_);
  // Numbers come again: a lane that gives no answers takes up none.
  if (std::find(added_.begin(), added_.end(), fd) != added_.end()) return;
  added_.push_back(fd);
  // release: meets the acquire in AnswerCork::End; the mutex guards what was added.
  has_added_.store(true, std::memory_order_release);
}

void AnswerCork::Set(int on) {
  std::erase_if(connections_, [on](int fd) {
    return setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on) != 0;
  });
}

void AnswerCork::End() {
  if (worth_it_) Set(0);
  // acquire: meets the release in AnswerCork::Add.
  if (has_added_.load(std::memory_order_acquire)) {
    Set(0);  // those that ended are forgotten
    std::lock_guard<std::mutex> lock(mutex_);
    for (const int fd : added_) {
      if (std::find(connections_.begin(), connections_.end(), fd) == connections_.end()) {
        connections_.push_back(fd);
      }
    }
    added_.clear();
    // relaxed: the mutex orders it with Add's.
    has_added_.store(false, std::memory_order_relaxed);
  }
  const size_t connections = connections_.size();
  worth_it_ = connections > 0 && connections <= kMostConnections && answers_ >= connections &&
              in_flight_ > connections;
  answers_ = 0;
}

}  // namespace millrace
