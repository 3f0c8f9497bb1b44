// A webhook that takes, refuses, fails, hangs or talks nonsense, and who is told of what.
#include "services/registry/debt/debt_watch.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "common/clock.h"
#include "ipc/fd.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;

constexpr int64_t kDay = 86'400;
std::atomic<int64_t> now_s{1'795'000'000};
int64_t Now() { return now_s; }

// Answers each connection with the next of its answers (the last for ever), and keeps what came.
class Listener {
 public:
  explicit Listener(std::vector<std::string> answers) : answers_(std::move(answers)) {
    sockaddr_in name = {};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof name;
    EXPECT_EQ(bind(socket_.get(), reinterpret_cast<sockaddr*>(&name), size), 0);
    EXPECT_EQ(listen(socket_.get(), 16), 0);
    getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&name), &size);
    port_ = ntohs(name.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~Listener() {
    shutdown(socket_.get(), SHUT_RDWR);
    thread_.join();
  }
  OtlpEndpoint endpoint() const {
    return *OtlpEndpoint::Parse("http://127.0.0.1:" + std::to_string(port_) + "/hook");
  }
  std::vector<std::string> requests() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return requests_;
  }

 private:
  void Serve() {
    for (size_t i = 0;; ++i) {
      Fd client(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client.valid()) return;
      std::string text;
      char chunk[4096];
      ssize_t n;
      while (text.find("\r\n\r\n{") == std::string::npos || text.back() != '}') {
        if ((n = read(client.get(), chunk, sizeof chunk)) <= 0) break;
        text.append(chunk, static_cast<size_t>(n));
      }
      const std::string& answer = answers_[std::min(i, answers_.size() - 1)];
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        requests_.push_back(text);
      }
      if (answer == "hang") {
        held_.push_back(std::move(client));
        continue;
      }
      (void)!write(client.get(), answer.data(), answer.size());
    }
  }

  const std::vector<std::string> answers_;
  Fd socket_{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  uint16_t port_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::vector<Fd> held_;
  std::thread thread_;
};

constexpr char kTaken[] = "HTTP/1.1 204 No Content\r\n\r\n";
constexpr char kBusy[] = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
constexpr char kForbidden[] = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";

Catalog OneVersion(const std::string& model, int64_t age_days) {
  Catalog catalog;
  Model* const m = catalog.add_models();
  m->set_name(model);
  m->set_version("2");
  m->mutable_provenance()->set_owner("Risk \"team\"");
  ModelWeights* const weights = catalog.add_weights();
  weights->set_model(model);
  weights->set_version("2");
  weights->set_made_s(now_s - age_days * kDay);
  return catalog;
}

DebtWatch::Options Quick() {
  DebtWatch::Options options;
  options.first_pause_ms = 1;
  options.longest_pause_ms = 4;
  options.look_ms = 5;
  options.now_s = &Now;
  return options;
}

template <typename Holds>
void WaitUntil(const Holds& holds) {
  while (!holds()) poll(nullptr, 0, 1);
}

TEST(DebtWatch, TellsOnceOfWhatIsTooOld) {
  Listener listener({kTaken});
  DebtWatch watch(listener.endpoint(), Quick());
  Catalog catalog = OneVersion("old", 200);
  catalog.MergeFrom(OneVersion("young", 100));
  watch.Use(catalog);
  WaitUntil([&] { return watch.counts().told == 1; });
  watch.Use(catalog);
  catalog.MergeFrom(OneVersion("older", 300));
  watch.Use(catalog);
  WaitUntil([&] { return watch.counts().told == 2; });
  const std::vector<std::string> requests = listener.requests();
  ASSERT_EQ(requests.size(), 2u);  // the first not again
  EXPECT_EQ(requests[0].rfind("POST /hook HTTP/1.1\r\nHost: 127.0.0.1:", 0), 0u);
  const auto notice = nlohmann::json::parse(requests[0].substr(requests[0].find("\r\n\r\n") + 4));
  EXPECT_EQ(notice["event"], "weights_too_old");
  EXPECT_EQ(notice["model"], "old");
  EXPECT_EQ(notice["version"], "2");
  EXPECT_EQ(notice["owner"], "Risk \"team\"");
  EXPECT_EQ(notice["age_days"], 200);
  EXPECT_EQ(notice["read_only"], true);
  EXPECT_NE(requests[1].find("\"older\""), std::string::npos);
}

TEST(DebtWatch, AVersionGrowsOldWhileItIsServed) {
  Listener listener({kTaken});
  DebtWatch watch(listener.endpoint(), Quick());
  watch.Use(OneVersion("m", 180));
  now_s += kDay;
  WaitUntil([&] { return watch.counts().told == 1; });
}

TEST(DebtWatch, IsToldAgainUntilItIsTaken) {
  Listener listener({kBusy, "", "nonsense\r\n\r\n", kTaken});
  DebtWatch watch(listener.endpoint(), Quick());
  watch.Use(OneVersion("m", 200));
  WaitUntil([&] { return watch.counts().told == 1; });
  EXPECT_EQ(watch.counts().failed_attempts, 3u);
  EXPECT_EQ(watch.counts().refused, 0u);
  EXPECT_EQ(listener.requests().size(), 4u);
}

TEST(DebtWatch, WhatIsRefusedIsNotToldAgain) {
  Listener listener({kForbidden, kTaken});
  DebtWatch watch(listener.endpoint(), Quick());
  Catalog catalog = OneVersion("a", 200);
  catalog.MergeFrom(OneVersion("b", 200));
  watch.Use(catalog);
  WaitUntil([&] { return watch.counts().told == 1; });
  EXPECT_EQ(watch.counts().refused, 1u);
  EXPECT_EQ(listener.requests().size(), 2u);
}

TEST(DebtWatch, NobodyListens) {
  OtlpEndpoint endpoint;
  {
    Listener gone({kTaken});
    endpoint = gone.endpoint();
  }
  DebtWatch watch(endpoint, Quick());
  watch.Use(OneVersion("m", 200));
  WaitUntil([&] { return watch.counts().failed_attempts >= 2; });
}

// Neither a new catalog nor the end waits for it.
TEST(DebtWatch, AWebhookThatHangsHoldsNothingUp) {
  Listener listener({"hang"});
  DebtWatch::Options options = Quick();
  options.patience_ms = 3'600'000;
  DebtWatch watch(listener.endpoint(), options);
  watch.Use(OneVersion("m", 200));
  WaitUntil([&] { return listener.requests().size() == 1; });
  for (int i = 0; i < 100; ++i) watch.Use(OneVersion("m", 200));
}

TEST(DebtWatch, ANoticeIsGivenUpInTime) {
  Listener listener({"hang", kTaken});
  DebtWatch::Options options = Quick();
  options.patience_ms = 20;
  DebtWatch watch(listener.endpoint(), options);
  watch.Use(OneVersion("m", 200));
  WaitUntil([&] { return watch.counts().told == 1; });
  EXPECT_EQ(watch.counts().failed_attempts, 1u);
}

// A name may lead anywhere; this one leads to this machine, a number of the world does not.
TEST(Webhook, OnlyPrivateAddresses) {
  OtlpEndpoint world;
  world.host = "192.0.2.1";
  world.port = "80";
  world.path = "/";
  std::string why;
  EXPECT_EQ(Webhook(world, 1000).Post("{}", &why), Webhook::Outcome::kAgain);
  EXPECT_EQ(why, "the host is neither this machine nor in a private network");
}

}  // namespace
}  // namespace millrace
