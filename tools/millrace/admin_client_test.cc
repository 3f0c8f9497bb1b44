#include "tools/millrace/admin_client.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <thread>

#include "gtest/gtest.h"

namespace millrace {
namespace {

// Answers one connection with `reply`, after a line has come, and closes it.
class OneAnswer {
 public:
  explicit OneAnswer(std::string reply)
      : path_("/tmp/admin_client_test." + std::to_string(getpid())), reply_(std::move(reply)) {
    unlink(path_.c_str());
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path_.data(), path_.size());
    socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(socket_, 1), 0);
    thread_ = std::thread([this] { Serve(); });
  }
  ~OneAnswer() {
    thread_.join();
    close(socket_);
    unlink(path_.c_str());
  }

  const std::string& path() const { return path_; }
  const std::string& asked() const { return asked_; }

 private:
  void Serve() {
    const int client = accept(socket_, nullptr, nullptr);
    char text[256];
    while (asked_.find('\n') == std::string::npos) {
      const ssize_t n = read(client, text, sizeof text);
      if (n <= 0) break;
      asked_.append(text, n);
    }
    // In two parts: a reply may come in pieces.
    const size_t half = reply_.size() / 2;
    EXPECT_EQ(write(client, reply_.data(), half), static_cast<ssize_t>(half));
    poll(nullptr, 0, 5);
    EXPECT_EQ(write(client, reply_.data() + half, reply_.size() - half),
              static_cast<ssize_t>(reply_.size() - half));
    close(client);
  }

  const std::string path_, reply_;
  std::string asked_;
  int socket_ = -1;
  std::thread thread_;
};

absl::StatusOr<nlohmann::json> Ask(const std::string& reply) {
  const OneAnswer server(reply);
  return AskAdmin(server.path(), {{"verb", "status"}}, 5000);
}

TEST(AdminClientTest, OneLineOutOneLineBack) {
  const auto answer = Ask("{\"ok\":true,\"ready\":false}\n");
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ((*answer)["ready"], false);
}

TEST(AdminClientTest, ARefusalKeepsItsSentence) {
  const auto answer = Ask("{\"ok\":false,\"error\":\"stage: there is no such stage\"}\n");
  EXPECT_EQ(answer.status(), absl::FailedPreconditionError("stage: there is no such stage"));
}

TEST(AdminClientTest, WhatIsNoAnswerIsAFault) {
  EXPECT_TRUE(absl::IsInternal(Ask("[1]\n").status()));
  EXPECT_TRUE(absl::IsInternal(Ask("nonsense\n").status()));
  EXPECT_TRUE(absl::IsUnavailable(Ask("{\"ok\":tr").status())) << "cut short";
}

TEST(AdminClientTest, NobodyThere) {
  const auto answer = AskAdmin("/tmp/no/such.sock", {{"verb", "status"}}, 1000);
  EXPECT_TRUE(absl::IsUnavailable(answer.status()));
  EXPECT_NE(answer.status().message().find("/tmp/no/such.sock"), std::string::npos);
  EXPECT_TRUE(absl::IsInvalidArgument(AskAdmin(std::string(200, 'x'), {}, 1000).status()));
}

TEST(AdminClientTest, TheDefaultFollowsTheRuntimeFolder) {
  setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
  EXPECT_EQ(DefaultAdminSocket(), "/run/user/7/millrace.sock");
  for (const char* other : {"", "relative"}) {
    setenv("XDG_RUNTIME_DIR", other, 1);
    EXPECT_EQ(DefaultAdminSocket(), "/run/millrace/millrace.sock");
  }
  unsetenv("XDG_RUNTIME_DIR");
  EXPECT_EQ(DefaultAdminSocket(), "/run/millrace/millrace.sock");
}

}  // namespace
}  // namespace millrace
