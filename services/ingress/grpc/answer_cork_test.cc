#include "services/ingress/grpc/answer_cork.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace millrace {
namespace {

// A TCP connection on loopback: `ours` writes, as gRPC does, and `theirs` reads.
struct Connection {
  Connection() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener, 1), 0);
    EXPECT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
    theirs = socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(connect(theirs, reinterpret_cast<sockaddr*>(&address), size), 0);
    ours = accept(listener, nullptr, nullptr);
    const int on = 1;
    setsockopt(ours, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    close(listener);
  }
  ~Connection() {
    close(ours);
    close(theirs);
  }
  bool corked() const {
    int on = 0;
    socklen_t size = sizeof on;
    getsockopt(ours, IPPROTO_TCP, TCP_CORK, &on, &size);
    return on != 0;
  }
  // What can be read now.
  std::string Arrived() const {
    char text[64];
    const ssize_t n = recv(theirs, text, sizeof text, MSG_DONTWAIT);
    return std::string(text, n > 0 ? n : 0);
  }

  int ours = -1, theirs = -1;
};

constexpr size_t kMany = 1000;  // in flight

void Turn(AnswerCork* cork, int answers, size_t in_flight = kMany) {
  for (int i = 0; i < answers; ++i) cork->Answer(in_flight);
  cork->Flush();
}

TEST(AnswerCorkTest, ATurnAfterOneWithManyAnswersGathersThem) {
  const Connection a, b;
  AnswerCork cork;
  cork.Add(a.ours);
  cork.Add(b.ours);
  Turn(&cork, 1);  // takes them up
  Turn(&cork, 4);
  EXPECT_FALSE(a.corked()) << "beyond the turn";
  cork.Answer(kMany);
  ASSERT_EQ(write(a.ours, "one", 3), 3);
  cork.Answer(kMany);
  ASSERT_EQ(write(a.ours, "two", 3), 3);
  EXPECT_TRUE(b.corked());
  EXPECT_EQ(a.Arrived(), "");
  cork.Flush();
  EXPECT_FALSE(a.corked());
  EXPECT_FALSE(b.corked());
  EXPECT_EQ(a.Arrived(), "onetwo");
}

TEST(AnswerCorkTest, AfterATurnWithFewAnswersEachLeavesAtOnce) {
  const Connection a, b;
  AnswerCork cork;
  cork.Add(a.ours);
  cork.Add(b.ours);
  Turn(&cork, 1);
  Turn(&cork, 2);
  Turn(&cork, 1);
  cork.Answer(kMany);
  EXPECT_FALSE(a.corked());
  ASSERT_EQ(write(a.ours, "one", 3), 3);
  EXPECT_EQ(a.Arrived(), "one");
  cork.Flush();
}

TEST(AnswerCorkTest, OfConnectionsWithOneRequestEachThereIsNothingToGather) {
  const Connection a, b;
  AnswerCork cork;
  cork.Add(a.ours);
  cork.Add(b.ours);
  Turn(&cork, 1);
  Turn(&cork, 2, 2);
  cork.Answer(kMany);
  EXPECT_FALSE(a.corked());
  cork.Flush();
  Turn(&cork, 2, 3);
  cork.Answer(kMany);
  EXPECT_TRUE(a.corked());
  cork.Flush();
}

TEST(AnswerCorkTest, ATurnWithoutAnswersTellsNothingOfTheNext) {
  const Connection a;
  AnswerCork cork;
  cork.Add(a.ours);
  Turn(&cork, 1);
  Turn(&cork, 2);
  Turn(&cork, 0);
  cork.Answer(kMany);
  EXPECT_TRUE(a.corked());
  cork.Flush();
  EXPECT_FALSE(a.corked());
}

TEST(AnswerCorkTest, WhatIsNoConnectionIsForgotten) {
  AnswerCork cork;
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const Connection a;
  cork.Add(pair[0]);
  cork.Add(pair[1]);
  cork.Add(a.ours);
  cork.Add(a.ours);  // its number came again
  close(pair[1]);
  Turn(&cork, 1);
  Turn(&cork, 3);
  Turn(&cork, 1);  // corks: the pair is forgotten, and one connection is left
  cork.Answer(kMany);
  EXPECT_TRUE(a.corked());
  cork.Flush();
  EXPECT_FALSE(a.corked());
  close(pair[0]);
}

TEST(AnswerCorkTest, ThoseThatEndedAreForgottenWhenOneComes) {
  AnswerCork cork;
  {
    const std::vector<Connection> many(AnswerCork::kMostConnections + 1);
    for (const Connection& one : many) cork.Add(one.ours);
    Turn(&cork, 1000);
  }
  const Connection a;
  cork.Add(a.ours);
  Turn(&cork, 4);  // its other descriptors may have numbers of those
  cork.Answer(kMany);
  EXPECT_TRUE(a.corked());
  cork.Flush();
}

TEST(AnswerCorkTest, MoreConnectionsThanItLooksAtAreLeftAlone) {
  std::vector<Connection> many(AnswerCork::kMostConnections + 1);
  AnswerCork cork;
  for (const Connection& one : many) cork.Add(one.ours);
  Turn(&cork, 1);
  Turn(&cork, 1000);
  cork.Answer(kMany);
  EXPECT_FALSE(many[0].corked());
  cork.Flush();
}

}  // namespace
}  // namespace millrace
