// Subjects `posix_mq`, `unix_socket` and `pipe`: what the kernel offers.
//
// Purpose: blocking calls, the payload copied in and out by the kernel.
// Who may call: the two processes of a run (pair.h). Ownership: the descriptors are made before the
//   processes are forked and inherited; a message queue's name is gone at once.
// What fails: a size that the kernel refuses (Refusal says so); any call that fails ends the
// process.
#pragma once

#include <fcntl.h>
#include <mqueue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "ipc/fd.h"
#include "tools/bench/ipc_bench/pair.h"
#include "tools/bench/ipc_bench/touch.h"

namespace millrace::bench {

// The two descriptors of each direction; where there is but one of both ends, it is in both.
struct Channel {
  Fd write, read;
};

inline void WriteAll(int fd, const std::byte* from, size_t bytes) {
  while (bytes > 0) {
    const ssize_t n = write(fd, from, bytes);
    if (n <= 0) Die("write");
    from += n;
    bytes -= static_cast<size_t>(n);
  }
}

inline void ReadAll(int fd, std::byte* to, size_t bytes) {
  while (bytes > 0) {
    const ssize_t n = read(fd, to, bytes);
    if (n <= 0) Die("read");
    to += n;
    bytes -= static_cast<size_t>(n);
  }
}

// Bytes in order: a pipe, or a connected pair of stream sockets.
template <bool kSocket>
class ByteStream {
 public:
  static const char* Refusal(size_t) { return nullptr; }

  struct Shared {
    explicit Shared(size_t) {
      for (Channel& channel : channels) {
        int fds[2];
        if ((kSocket ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)
                     : pipe2(fds, O_CLOEXEC)) != 0) {
          Die("no pipe or socket");
        }
        channel = {Fd(fds[1]), Fd(fds[0])};
        // As much as anybody may ask for; where it is refused, the default serves.
        if (!kSocket) fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
      }
    }
    Channel channels[2];
  };

  class End {
   public:
    End(Shared& shared, Side side, size_t bytes)
        : buffer_(bytes),
          out_(shared.channels[static_cast<size_t>(side)].write.get()),
          in_(shared.channels[1 - static_cast<size_t>(side)].read.get()) {}

    void Send(uint64_t stamp) {
      FillBytes(buffer_.data(), buffer_.size(), stamp);
      WriteAll(out_, buffer_.data(), buffer_.size());
    }
    bool Receive(uint64_t stamp) {
      ReadAll(in_, buffer_.data(), buffer_.size());
      return CheckBytes(buffer_.data(), buffer_.size(), stamp);
    }

   private:
    std::vector<std::byte> buffer_;
    int out_, in_;
  };
};

class PosixMq {
 public:
  static constexpr long kMessages = 10;  // what anybody may ask for

  static mqd_t Open(size_t bytes) {
    const rlimit enough = {RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_MSGQUEUE, &enough);  // where that is refused, small queues can be had
    mq_attr attributes = {};
    attributes.mq_maxmsg = kMessages;
    attributes.mq_msgsize = static_cast<long>(bytes);
    const std::string name = "/millrace_bench_" + std::to_string(getpid());
    const mqd_t queue = mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    if (queue >= 0) mq_unlink(name.c_str());
    return queue;
  }

  static const char* Refusal(size_t bytes) {
    const mqd_t queue = Open(bytes);
    if (queue < 0) return "the kernel allows this user no such queue";
    mq_close(queue);
    return nullptr;
  }

  struct Shared {
    explicit Shared(size_t bytes) {
      for (mqd_t& queue : queues) queue = Open(bytes);
      if (queues[0] < 0 || queues[1] < 0) Die("mq_open");
    }
    ~Shared() {
      for (const mqd_t queue : queues) mq_close(queue);
    }
    mqd_t queues[2];
  };

  class End {
   public:
    End(Shared& shared, Side side, size_t bytes)
        : buffer_(bytes),
          out_(shared.queues[static_cast<size_t>(side)]),
          in_(shared.queues[1 - static_cast<size_t>(side)]) {}

    void Send(uint64_t stamp) {
      FillBytes(buffer_.data(), buffer_.size(), stamp);
      if (mq_send(out_, as_chars(), buffer_.size(), 0) != 0) Die("mq_send");
    }
    bool Receive(uint64_t stamp) {
      const ssize_t n = mq_receive(in_, as_chars(), buffer_.size(), nullptr);
      if (n < 0) Die("mq_receive");
      return static_cast<size_t>(n) == buffer_.size() &&
             CheckBytes(buffer_.data(), buffer_.size(), stamp);
    }

   private:
    char* as_chars() { return reinterpret_cast<char*>(buffer_.data()); }

    std::vector<std::byte> buffer_;
    mqd_t out_, in_;
  };
};

}  // namespace millrace::bench
