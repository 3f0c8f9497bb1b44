#include "services/keeper/listener.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "gtest/gtest.h"

namespace millrace {
namespace {

TEST(Listener, AFreePortIsChosenAndTold) {
  const auto listener = OpenListener("grpc", "127.0.0.1:0");
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_EQ(listener->name, "grpc");
  EXPECT_EQ(listener->address.rfind("127.0.0.1:", 0), 0u);
  EXPECT_NE(listener->address, "127.0.0.1:0");
  EXPECT_TRUE(fcntl(listener->socket.get(), F_GETFL) & O_NONBLOCK);
  EXPECT_TRUE(fcntl(listener->socket.get(), F_GETFD) & FD_CLOEXEC);
  EXPECT_EQ(OpenListener("http", listener->address).status().code(), absl::StatusCode::kUnavailable)
      << "it is taken";
}

TEST(Listener, NamesAndBracketsAreUnderstood) {
  EXPECT_TRUE(OpenListener("grpc", "localhost:0").ok());
  const auto six = OpenListener("grpc", "[::1]:0");
  // A machine may have no IPv6; what is told must not be about the form.
  if (!six.ok()) {
    EXPECT_EQ(six.status().code(), absl::StatusCode::kUnavailable);
  } else {
    EXPECT_EQ(six->address.rfind("[::1]:", 0), 0u);
  }
}

TEST(Listener, WhatIsNoAddressIsRefused) {
  for (const char* address :
       {"", "8000", ":8000", "127.0.0.1:", "127.0.0.1:port", "unix:", "127.0.0.1:99999999"}) {
    EXPECT_EQ(OpenListener("grpc", address).status().code(), absl::StatusCode::kInvalidArgument)
        << address;
  }
  EXPECT_FALSE(OpenListener("grpc", "unix:" + std::string(108, 'x')).ok());
  EXPECT_FALSE(OpenListener("grpc", "unix:/no/such/folder/socket").ok());
}

TEST(Listener, ALeftoverSocketIsReplacedAndALivingOneIsNot) {
  std::string dir = "/tmp/mr-listen-XXXXXX";
  ASSERT_NE(mkdtemp(dir.data()), nullptr);
  const std::string path = dir + "/socket";
  {
    const auto first = OpenListener("http", "unix:" + path);
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(first->unix_path, path);
    EXPECT_EQ(OpenListener("http", "unix:" + path).status().code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_EQ(access(path.c_str(), F_OK), 0) << "its owner was killed";
  EXPECT_TRUE(OpenListener("http", "unix:" + path).ok());
  unlink(path.c_str());
  rmdir(dir.c_str());
}

}  // namespace
}  // namespace millrace
