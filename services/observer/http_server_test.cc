#include "services/observer/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <vector>

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class HttpServerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = new HttpServer;
    server_->Handle("/page", [](const HttpRequest& request) {
      return HttpReply{200, "text/plain", "query=" + request.query};
    });
    server_->Handle("/once", [](const HttpRequest&) {
      HttpReply reply{200, "text/plain", "once"};
      reply.headers = "X-Mark: here\r\n";
      reply.close = true;
      return reply;
    });
    const auto address = server_->Listen("127.0.0.1:0");
    ASSERT_TRUE(address.ok()) << address.status();
    port_ = atoi(address->c_str() + address->rfind(':') + 1);
    server_->Start();
  }

  static Fd Connect() {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<uint16_t>(port_));
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    return fd;
  }

  static void Send(const Fd& fd, const std::string& bytes) {
    EXPECT_EQ(send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }

  // Until the server ends the connection.
  static std::string ReadAll(const Fd& fd) {
    std::string text;
    char buffer[4096];
    ssize_t n;
    while ((n = read(fd.get(), buffer, sizeof buffer)) > 0) text.append(buffer, n);
    return text;
  }

  static std::string Ask(const std::string& request) {
    const Fd fd = Connect();
    Send(fd, request);
    return ReadAll(fd);
  }

  static HttpServer* server_;  // lives as long as the process
  static int port_;
};

HttpServer* HttpServerTest::server_ = nullptr;
int HttpServerTest::port_ = 0;

TEST_F(HttpServerTest, APageIsAnsweredByItsHandler) {
  const std::string reply = Ask("GET /page?a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(reply, HasSubstr("Content-Length: 9\r\n"));
  EXPECT_THAT(reply, HasSubstr("\r\n\r\nquery=a=b"));
}

TEST_F(HttpServerTest, AConnectionServesSeveralRequestsAlsoInPieces) {
  const Fd fd = Connect();
  Send(fd, "GET /page?1 HTTP/1.1\r\nHo");
  Send(fd, "st: x\r\n\r\nGET /page?2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string reply = ReadAll(fd);
  EXPECT_THAT(reply, HasSubstr("query=1"));
  EXPECT_THAT(reply, HasSubstr("query=2"));
}

// Read to its end although the client would have gone on.
TEST_F(HttpServerTest, APageMayEndItsConnectionAndAddHeaders) {
  const std::string reply = Ask("GET /once HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(reply, HasSubstr("Connection: close\r\n\r\nonce"));
  EXPECT_THAT(reply, HasSubstr("\r\nX-Mark: here\r\n"));
}

TEST_F(HttpServerTest, HeadHasNoBodyAndOtherMethodsAreRefused) {
  EXPECT_THAT(Ask("HEAD /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              Not(HasSubstr("query=")));
  EXPECT_THAT(Ask("POST /page HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(Ask("GET /other HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 404"));
}

TEST_F(HttpServerTest, WhatIsNotUnderstoodEndsItsConnectionAndNoOther) {
  const std::string hostile[] = {"nonsense\r\n\r\n", std::string(1000, '\0'),
                                 "GET /page HTTP/1.1\r\nX: " + std::string(40'000, 'x'),
                                 "GET /page HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
                                 "GET /page HTTP/9.9\r\n\r\n"};
  for (const std::string& bytes : hostile) {
    const Fd fd = Connect();
    send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    EXPECT_THAT(ReadAll(fd), Not(HasSubstr("query="))) << bytes.substr(0, 20);
  }
  EXPECT_THAT(Ask("GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              HasSubstr("query="));
}

TEST_F(HttpServerTest, ATakenPortIsSaid) {
  HttpServer other;
  const auto address = other.Listen("127.0.0.1:" + std::to_string(port_));
  ASSERT_FALSE(address.ok());
  EXPECT_THAT(std::string(address.status().message()), HasSubstr("in use"));
}

TEST_F(HttpServerTest, AUnixSocketThatWasLeftIsTakenOver) {
  char folder[] = "/tmp/millrace-observer-XXXXXX";  // short: a socket's path has 107 bytes
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string path = "unix:" + std::string(folder) + "/s";
  {
    HttpServer first;
    ASSERT_TRUE(first.Listen(path).ok());
  }
  HttpServer second;
  EXPECT_TRUE(second.Listen(path).ok());
  HttpServer third;  // the second one lives
  EXPECT_FALSE(third.Listen(path).ok());
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace millrace
