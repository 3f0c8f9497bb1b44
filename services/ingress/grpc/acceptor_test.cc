#include "services/ingress/grpc/acceptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <vector>

#include "services/ingress/grpc/listening_socket_for_test.h"

namespace millrace {
namespace {

// Collects what the acceptor's thread hands over.
class Inbox {
 public:
  ~Inbox() {
    for (int fd : fds_) close(fd);
  }
  void Put(int fd) {
    std::lock_guard<std::mutex> lock(mutex_);
    fds_.push_back(fd);
    arrived_.notify_all();
  }
  // Waits until `count` are there.
  std::vector<int> Wait(size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    arrived_.wait(lock, [&] { return fds_.size() >= count; });
    return fds_;
  }
  size_t size() {
    std::lock_guard<std::mutex> lock(mutex_);
    return fds_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<int> fds_;
};

class AcceptorTest : public ::testing::TestWithParam<SocketKind> {
 protected:
  std::unique_ptr<Acceptor> StartOn(int fd) {
    auto acceptor = Acceptor::Start(fd, [this](int connection) { inbox_.Put(connection); });
    EXPECT_TRUE(acceptor.ok()) << acceptor.status();
    return acceptor.ok() ? *std::move(acceptor) : nullptr;
  }

  ListeningSocket socket_{GetParam()};
  Inbox inbox_;
};

INSTANTIATE_TEST_SUITE_P(Sockets, AcceptorTest,
                         ::testing::Values(SocketKind::kTcp, SocketKind::kUnix));

TEST_P(AcceptorTest, ConnectionsAreNonBlockingAndClosedOnExec) {
  const int early = socket_.Connect();  // in the backlog before anybody accepts
  const std::unique_ptr<Acceptor> acceptor = StartOn(socket_.fd());
  const int late = socket_.Connect();
  for (int fd : inbox_.Wait(2)) {
    EXPECT_TRUE(fcntl(fd, F_GETFL) & O_NONBLOCK);
    EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    if (GetParam() == SocketKind::kTcp) {
      int no_delay = 0;
      socklen_t size = sizeof no_delay;
      ASSERT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size), 0);
      EXPECT_NE(no_delay, 0);
    }
  }
  close(early);
  close(late);
}

TEST_P(AcceptorTest, SeveralMayAcceptOnOneSocket) {
  const std::unique_ptr<Acceptor> one = StartOn(socket_.fd());
  const std::unique_ptr<Acceptor> other = StartOn(socket_.fd());
  std::vector<int> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(socket_.Connect());
  EXPECT_EQ(inbox_.Wait(50).size(), 50u);
  for (int fd : clients) close(fd);
}

TEST_P(AcceptorTest, AfterItsEndClientsStayInTheBacklog) {
  StartOn(socket_.fd()).reset();
  const int client = socket_.Connect();
  EXPECT_EQ(inbox_.size(), 0u);
  const std::unique_ptr<Acceptor> next = StartOn(socket_.fd());
  EXPECT_EQ(inbox_.Wait(1).size(), 1u);
  close(client);
}

TEST_P(AcceptorTest, AShortageOfDescriptorsIsWaitedOut) {
  const int client = socket_.Connect();
  rlimit saved;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &saved), 0);
  std::unique_ptr<Acceptor> acceptor;
  {
    // The acceptor gets its eventfd; then no descriptor is left for a connection.
    const int next = dup(client);
    close(next);
    rlimit tight = saved;
    tight.rlim_cur = next + 1;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
    acceptor = StartOn(socket_.fd());
    usleep(100'000);
    EXPECT_EQ(inbox_.size(), 0u);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &saved), 0);
  }
  EXPECT_EQ(inbox_.Wait(1).size(), 1u);
  close(client);
}

TEST(Acceptor, RefusesWhatDoesNotListen) {
  EXPECT_FALSE(Acceptor::Start(-1, [](int) {}).ok());
  const int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_FALSE(Acceptor::Start(file, [](int) {}).ok());
  close(file);
  const int idle = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto acceptor = Acceptor::Start(idle, [](int) {});
  EXPECT_NE(acceptor.status().message().find("does not listen"), absl::string_view::npos);
  close(idle);
}

}  // namespace
}  // namespace millrace
