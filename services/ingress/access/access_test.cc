// Who is let in, on which transport, how often; and what a change of the key file does.
#include "services/ingress/access/access.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "common/clock.h"

namespace {

// OpenSSL's allocations, counted from its first on.
std::atomic<int64_t> allocations{0};

}  // namespace

namespace millrace {
namespace {

using absl::StatusCode;
constexpr int64_t kNow = 1000 * kNanosPerSecond;

[[maybe_unused]] const bool counted = CRYPTO_set_mem_functions(
                                          [](size_t bytes, const char*, int) {
                                            ++allocations;
                                            return malloc(bytes);
                                          },
                                          [](void* at, size_t bytes, const char*, int) {
                                            ++allocations;
                                            return realloc(at, bytes);
                                          },
                                          [](void* at, const char*, int) { free(at); }) == 1;

std::string Hash(std::string_view key) {
  unsigned char digest[32];
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest);
  std::string hex;
  for (unsigned char byte : digest) {
    hex.push_back("0123456789abcdef"[byte >> 4]);
    hex.push_back("0123456789abcdef"[byte & 15]);
  }
  return hex;
}

std::string Entry(std::string_view name, std::string_view key, std::string_view rest) {
  return "- {name: " + std::string(name) + ", sha256: " + Hash(key) + ", " + std::string(rest) +
         "}\n";
}

class AccessTest : public ::testing::Test {
 protected:
  AccessTest() {
    char path[] = "/tmp/millrace_keys_XXXXXX";
    close(mkstemp(path));
    path_ = path;
  }
  ~AccessTest() override { unlink(path_.c_str()); }

  // As an editor or a rotation does it: a new file in the place of the old.
  void Write(const std::string& text) {
    const std::string fresh = path_ + ".new";
    std::ofstream(fresh) << text;
    ASSERT_EQ(rename(fresh.c_str(), path_.c_str()), 0);
  }

  void Open(const std::string& text) {
    Write(text);
    auto keys = Keys::Open(path_);
    ASSERT_TRUE(keys.ok()) << keys.status();
    keys_ = *keys;
    gate_ = std::make_unique<Gate>(keys_, Reach::kUnixSocket);
  }

  StatusCode Code(Scope scope, std::string_view key, int64_t now_ns = kNow) {
    return gate_->Check(scope, key, now_ns).code;
  }

  std::string path_;
  std::shared_ptr<Keys> keys_;
  std::unique_ptr<Gate> gate_;
};

TEST(Gate, WithoutKeysOnlyThisMachineIsServed) {
  const auto none = Keys::Open("");
  const auto anonymous = Keys::Open("", true);
  ASSERT_TRUE(none.ok() && anonymous.ok());
  const auto code = [&](std::shared_ptr<Keys> keys, Scope scope, Reach reach) {
    return Gate(std::move(keys), reach).Check(scope, "any", kNow).code;
  };
  for (Scope scope : {kScopeNone, kScopeInfer, kScopeAdmin, kScopeMetrics}) {
    for (Reach reach : {Reach::kUnixSocket, Reach::kThisMachine}) {
      EXPECT_EQ(code(*none, scope, reach), StatusCode::kOk);
      EXPECT_EQ(code(nullptr, scope, reach), StatusCode::kOk);
    }
  }
  EXPECT_EQ(code(*none, kScopeNone, Reach::kNetwork), StatusCode::kOk);
  for (Scope scope : {kScopeInfer, kScopeAdmin, kScopeMetrics}) {
    EXPECT_EQ(code(*none, scope, Reach::kNetwork), StatusCode::kPermissionDenied);
    EXPECT_EQ(code(nullptr, scope, Reach::kNetwork), StatusCode::kPermissionDenied);
    EXPECT_EQ(code(*anonymous, scope, Reach::kNetwork),
              scope == kScopeAdmin ? StatusCode::kPermissionDenied : StatusCode::kOk);
  }
}

Reach ReachOfAddress(int family, const void* address, socklen_t size) {
  const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool bound = bind(fd, static_cast<const sockaddr*>(address), size) == 0;
  const Reach reach = ReachOf(fd);
  close(fd);
  // A machine without IPv6 cannot show it.
  EXPECT_TRUE(bound || family == AF_INET6);
  return bound ? reach : Reach::kThisMachine;
}

TEST(Reach, IsWhereTheSocketListens) {
  sockaddr_in ip = {};
  ip.sin_family = AF_INET;
  EXPECT_EQ(ReachOfAddress(AF_INET, &ip, sizeof ip), Reach::kNetwork);
  ip.sin_addr.s_addr = htonl(0x7f000001);
  EXPECT_EQ(ReachOfAddress(AF_INET, &ip, sizeof ip), Reach::kThisMachine);
  sockaddr_in6 six = {};
  six.sin6_family = AF_INET6;
  six.sin6_addr = in6addr_loopback;
  EXPECT_EQ(ReachOfAddress(AF_INET6, &six, sizeof six), Reach::kThisMachine);
  sockaddr_un local = {};
  local.sun_family = AF_UNIX;
  EXPECT_EQ(ReachOfAddress(AF_UNIX, &local, sizeof(sa_family_t)), Reach::kUnixSocket);
  EXPECT_EQ(ReachOf(-1), Reach::kNetwork);
}

TEST_F(AccessTest, AKeyOpensItsScopesAndNoOther) {
  Open("keys:\n" + Entry("a", "alpha", "scopes: [infer]") +
       Entry("b", "beta", "scopes: [admin, metrics]"));
  EXPECT_EQ(Code(kScopeInfer, "alpha"), StatusCode::kOk);
  EXPECT_EQ(Code(kScopeAdmin, "alpha"), StatusCode::kPermissionDenied);
  EXPECT_EQ(Code(kScopeInfer, "beta"), StatusCode::kPermissionDenied);
  EXPECT_EQ(Code(kScopeAdmin, "beta"), StatusCode::kOk);
  EXPECT_EQ(Code(kScopeMetrics, "beta"), StatusCode::kOk);
  EXPECT_EQ(Code(kScopeNone, ""), StatusCode::kOk);
  for (std::string_view key : {"", "alph", "alphaa", "ALPHA", "gamma"}) {
    EXPECT_EQ(Code(kScopeInfer, key), StatusCode::kUnauthenticated) << key;
  }
  EXPECT_EQ(Code(kScopeInfer, Hash("alpha")), StatusCode::kUnauthenticated);
}

TEST_F(AccessTest, ACertificateOpensItsScopesWhereNoKeyIsShown) {
  Open("keys:\n- {name: c, certificate: press 7, scopes: [infer]}\n" +
       Entry("a", "alpha", "scopes: [admin]"));
  const auto code = [&](Scope scope, const Shown& shown) {
    return gate_->Check(scope, shown, kNow).code;
  };
  EXPECT_EQ(code(kScopeInfer, {"", "press 7"}), StatusCode::kOk);
  EXPECT_EQ(code(kScopeAdmin, {"", "press 7"}), StatusCode::kPermissionDenied);
  EXPECT_EQ(code(kScopeInfer, {"", "press 8"}), StatusCode::kUnauthenticated);
  // A name is no key, and a key is no name; a key that is shown decides.
  EXPECT_EQ(code(kScopeInfer, "press 7"), StatusCode::kUnauthenticated);
  EXPECT_EQ(code(kScopeAdmin, {"", "alpha"}), StatusCode::kUnauthenticated);
  EXPECT_EQ(code(kScopeAdmin, {"alpha", "press 7"}), StatusCode::kOk);
  EXPECT_EQ(code(kScopeInfer, {"alpha", "press 7"}), StatusCode::kPermissionDenied);
  EXPECT_EQ(code(kScopeInfer, {"gamma", "press 7"}), StatusCode::kUnauthenticated);
}

// A stream asks once who is there, and for each request whether it still may.
TEST_F(AccessTest, APermitCountsByUseAndEndsWithItsKey) {
  Open("keys:\n" + Entry("a", "alpha", "scopes: [infer], rate_per_s: 1, burst: 2"));
  Permit permit;
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(gate_->Admit(kScopeInfer, "alpha", kNow, &permit).ok());
  }
  EXPECT_TRUE(gate_->Use(permit, kNow).ok());
  EXPECT_TRUE(gate_->Use(permit, kNow).ok());
  EXPECT_EQ(gate_->Use(permit, kNow).code, StatusCode::kResourceExhausted);
  Write("keys:\n" + Entry("a", "alpha", "scopes: [metrics]"));
  EXPECT_EQ(gate_->Use(permit, kNow + 2 * kNanosPerSecond).code, StatusCode::kPermissionDenied);
  Write("keys: []");
  EXPECT_EQ(gate_->Use(permit, kNow + 4 * kNanosPerSecond).code, StatusCode::kUnauthenticated);
  EXPECT_FALSE(gate_->AsksForKey(kScopeNone));
  EXPECT_TRUE(gate_->AsksForKey(kScopeInfer));
}

TEST_F(AccessTest, RateAndBurst) {
  Open("keys:\n" + Entry("a", "alpha", "scopes: [infer], rate_per_s: 10, burst: 3"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Code(kScopeInfer, "alpha"), StatusCode::kOk);
  const Verdict refused = gate_->Check(kScopeInfer, "alpha", kNow);
  EXPECT_EQ(refused.code, StatusCode::kResourceExhausted);
  EXPECT_EQ(refused.retry_after_ns, kNanosPerSecond / 10);
  // What was refused took nothing: after the time that was named exactly one is let in.
  const int64_t later_ns = kNow + refused.retry_after_ns;
  EXPECT_EQ(Code(kScopeInfer, "alpha", later_ns), StatusCode::kOk);
  EXPECT_EQ(Code(kScopeInfer, "alpha", later_ns), StatusCode::kResourceExhausted);
  // A long rest gives the burst and no more.
  const int64_t rested_ns = kNow + 1000 * kNanosPerSecond;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Code(kScopeInfer, "alpha", rested_ns), StatusCode::kOk);
  EXPECT_EQ(Code(kScopeInfer, "alpha", rested_ns), StatusCode::kResourceExhausted);
}

TEST_F(AccessTest, QuotaOfAPeriod) {
  Open("keys:\n" +
       Entry("a", "alpha", "scopes: [infer], quota: 4, period_s: 60, rate_per_s: 1, burst: 2"));
  int64_t now_ns = 6000 * kNanosPerSecond;  // a period begins
  EXPECT_EQ(Code(kScopeInfer, "alpha", now_ns), StatusCode::kOk);
  EXPECT_EQ(Code(kScopeInfer, "alpha", now_ns), StatusCode::kOk);
  // Refused by the rate, so not counted by the quota.
  for (int i = 0; i < 9; ++i) {
    EXPECT_EQ(Code(kScopeInfer, "alpha", now_ns), StatusCode::kResourceExhausted);
  }
  now_ns += 10 * kNanosPerSecond;
  EXPECT_EQ(Code(kScopeInfer, "alpha", now_ns), StatusCode::kOk);
  EXPECT_EQ(Code(kScopeInfer, "alpha", now_ns), StatusCode::kOk);
  now_ns += 10 * kNanosPerSecond;
  const Verdict refused = gate_->Check(kScopeInfer, "alpha", now_ns);
  EXPECT_EQ(refused.code, StatusCode::kResourceExhausted);
  EXPECT_EQ(refused.retry_after_ns, 40 * kNanosPerSecond);
  EXPECT_EQ(Code(kScopeInfer, "alpha", now_ns + refused.retry_after_ns), StatusCode::kOk);
}

TEST_F(AccessTest, LanesShareWhatAKeyMayUse) {
  Open("keys:\n" + Entry("a", "alpha", "scopes: [infer], rate_per_s: 1, burst: 5000"));
  std::atomic<int> let_in{0};
  std::vector<std::thread> lanes;
  for (int i = 0; i < 2; ++i) {
    lanes.emplace_back([&] {
      Gate gate(keys_, Reach::kThisMachine);
      for (int k = 0; k < 5000; ++k) {
        if (gate.Check(kScopeInfer, "alpha", kNow).ok()) ++let_in;
      }
    });
  }
  for (std::thread& lane : lanes) lane.join();
  EXPECT_EQ(let_in, 5000);
}

TEST_F(AccessTest, ANewFileIsReadWithoutARestart) {
  Open("keys:\n" + Entry("a", "alpha", "scopes: [infer], rate_per_s: 1, burst: 1"));
  EXPECT_EQ(Code(kScopeInfer, "alpha"), StatusCode::kOk);
  Write("keys:\n" + Entry("a", "omega", "scopes: [infer], rate_per_s: 1, burst: 1"));
  // Not before a second has passed.
  EXPECT_EQ(Code(kScopeInfer, "omega"), StatusCode::kUnauthenticated);
  const int64_t later_ns = kNow + kNanosPerSecond;
  EXPECT_EQ(Code(kScopeInfer, "alpha", later_ns), StatusCode::kUnauthenticated);
  EXPECT_EQ(Code(kScopeInfer, "omega", later_ns), StatusCode::kOk);
  // The entry's use goes on with its name.
  EXPECT_EQ(Code(kScopeInfer, "omega", later_ns), StatusCode::kResourceExhausted);
  EXPECT_EQ(keys_->faults(), 0u);
}

TEST_F(AccessTest, ABrokenFileKeepsTheKeysAndIsCountedOnce) {
  Open("keys:\n" + Entry("a", "alpha", "scopes: [infer]"));
  Write("keys: [{name: broken");
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(Code(kScopeInfer, "alpha", kNow + i * 2 * kNanosPerSecond), StatusCode::kOk);
  }
  EXPECT_EQ(keys_->faults(), 1u);
  unlink(path_.c_str());
  EXPECT_EQ(Code(kScopeInfer, "alpha", kNow + 20 * kNanosPerSecond), StatusCode::kOk);
  Write("keys: []");
  EXPECT_EQ(Code(kScopeInfer, "alpha", kNow + 30 * kNanosPerSecond), StatusCode::kUnauthenticated);
}

TEST_F(AccessTest, FaultsOfAKeyFile) {
  const std::string good = Entry("a", "alpha", "scopes: [infer]");
  for (const std::string& text : std::vector<std::string>{
           "", "keys: 3", "other: []", "keys:\n- 3", "keys:\n- {name: a, scopes: [infer]}",
           "keys:\n- {name: a, sha256: 12, scopes: [infer]}",
           "keys:\n" + Entry("a", "alpha", "scopes: [root]"),
           "keys:\n" + Entry("a", "alpha", "scopes: []"),
           "keys:\n" + Entry("a", "alpha", "scopes: [infer], rate_per_s: 0"),
           "keys:\n" + Entry("a", "alpha", "scopes: [infer], speed: 1"),
           "keys:\n- {name: a, certificate: '', scopes: [infer]}",
           "keys:\n" + Entry("a", "alpha", "certificate: a, scopes: [infer]"),
           "keys:\n- {name: a, certificate: c, scopes: [infer]}\n"
           "- {name: b, certificate: c, scopes: [infer]}",
           "keys:\n" + good + Entry("b", "alpha", "scopes: [infer]"),
           "keys:\n" + good + Entry("a", "beta", "scopes: [infer]")}) {
    Write(text);
    EXPECT_FALSE(Keys::Open(path_).ok()) << text;
  }
  EXPECT_FALSE(Keys::Open("/nonexistent/keys").ok());
  EXPECT_FALSE(Keys::Open("/").ok());
  // Nobody writes to this pipe: to open it must not wait.
  unlink(path_.c_str());
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_FALSE(Keys::Open(path_).ok());
}

TEST_F(AccessTest, ACheckAllocatesNothing) {
  ASSERT_TRUE(counted);
  Open("keys:\n" + Entry("a", "alpha", "scopes: [infer]"));
  EXPECT_EQ(Code(kScopeInfer, "alpha"), StatusCode::kOk);
  const int64_t before = allocations;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Code(kScopeInfer, "alpha"), StatusCode::kOk);
  EXPECT_EQ(allocations, before);
}

TEST(BearerKey, OnlyAfterItsScheme) {
  EXPECT_EQ(BearerKey("Bearer k"), "k");
  EXPECT_EQ(BearerKey("bearer   k"), "k");
  EXPECT_EQ(BearerKey("Basic k"), "");
  EXPECT_EQ(BearerKey("Bearer"), "");
  EXPECT_EQ(BearerKey("Bearerk"), "");
  EXPECT_EQ(BearerKey(""), "");
}

}  // namespace
}  // namespace millrace
