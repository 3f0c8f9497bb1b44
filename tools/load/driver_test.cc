// The driver beside a server and a clock that are both the test's: every time is exact.
#include "tools/load/driver.h"

#include <algorithm>
#include <map>
#include <set>

#include "gtest/gtest.h"

namespace millrace {
namespace {

constexpr int64_t kMs = kNanosPerMilli;

// A server of one worker: a request takes `service_ns` once the ones before it are done, and from
// `stall_from_ns` for `stall_ns` nothing is worked at. Time passes in Wait alone, and in Send by
// `send_cost_ns`, which is what a slow generator looks like.
class FakeServer : public Transport, public LoadClock {
 public:
  int64_t service_ns = 100'000;
  int64_t stall_from_ns = -1;
  int64_t stall_ns = 0;
  int64_t send_cost_ns = 0;
  std::map<int64_t, Done> scripted;  // by the number of the send: what its end is instead
  int64_t stop_at_ns = -1;
  std::atomic<bool> stop = false;

  int64_t NowNs() override { return now_ns_; }

  void Send(int slot, size_t request, bool again) override {
    EXPECT_TRUE(in_use_.insert(slot).second) << "slot " << slot << " is in use";
    requests.push_back(request);
    repeats += again;
    now_ns_ += send_cost_ns;
    int64_t start_ns = std::max(now_ns_, free_at_ns_);
    if (start_ns >= stall_from_ns && start_ns < stall_from_ns + stall_ns) {
      start_ns = stall_from_ns + stall_ns;
    }
    free_at_ns_ = start_ns + service_ns;
    Done done;
    done.outcome = Outcome::kExpected;
    if (const auto it = scripted.find(sends_++); it != scripted.end()) done = it->second;
    done.slot = slot;
    done.done_ns = free_at_ns_;
    ends_.emplace(free_at_ns_, done);
    most_in_flight = std::max(most_in_flight, in_use_.size());
  }

  std::optional<Done> Wait(int64_t until_ns) override {
    const bool comes = !ends_.empty() && ends_.begin()->first <= std::max(now_ns_, until_ns);
    now_ns_ = std::max(now_ns_, comes ? ends_.begin()->first : until_ns);
    if (stop_at_ns >= 0 && now_ns_ >= stop_at_ns) stop = true;
    if (!comes) return {};
    const Done done = ends_.begin()->second;
    ends_.erase(ends_.begin());
    in_use_.erase(done.slot);
    return done;
  }

  std::vector<size_t> requests;
  int repeats = 0;
  size_t most_in_flight = 0;
  size_t in_flight() const { return in_use_.size(); }

 private:
  int64_t now_ns_ = 1'000'000'000'000;
  int64_t free_at_ns_ = 0;
  int64_t sends_ = 0;
  std::set<int> in_use_;
  std::multimap<int64_t, Done> ends_;
};

constexpr int64_t kStart = 1'000'000'000'000;

DriveOptions OpenLoop(double rate_per_s, int64_t duration_ns) {
  DriveOptions options;
  options.rate_per_s = rate_per_s;
  options.arrivals = ArrivalKind::kConstant;
  options.duration_ns = duration_ns;
  options.in_flight = 4096;
  return options;
}

DriveResult RunDriver(FakeServer* server, const DriveOptions& options,
                      const DriveWatch& watch = {}) {
  DriveResult result = Drive(server, server, 8, options, watch);
  EXPECT_EQ(server->in_flight(), 0U) << "all that was sent has ended";
  EXPECT_EQ(result.sent, result.answered + result.mismatched + result.failed);
  return result;
}

Done Failure(const std::string& code, const std::string& sentence, bool may_retry) {
  Done done;
  done.code = code;
  done.sentence = sentence;
  done.may_retry = may_retry;
  return done;
}

// 1000/s for 10 s; the server stands still from 5 s to 6 s. One slot, as the classic closed tools
// have it: then just one request sees the stall, and its service time alone says so. From when they
// were due, 1000 requests waited, on average for half a second.
TEST(DriverTest, AStallShowsInTheCorrectedLatencyOfAllThatWereDue) {
  FakeServer server;
  server.stall_from_ns = kStart + 5000 * kMs;
  server.stall_ns = 1000 * kMs;
  DriveOptions options = OpenLoop(1000, 10'000 * kMs);
  options.in_flight = 1;
  const DriveResult result = RunDriver(&server, options);
  EXPECT_EQ(result.answered, 9999);
  EXPECT_EQ(server.most_in_flight, 1U);
  // Uncorrected, the stall is one request in ten thousand: even p99.9 does not know of it.
  EXPECT_LT(result.service.PercentileNs(0.999), kMs);
  EXPECT_GE(result.service.max_ns(), 1000 * kMs);
  // Corrected: one tenth was due within the stall or the backlog behind it.
  EXPECT_LT(result.latency.PercentileNs(0.88), kMs);
  EXPECT_GT(result.latency.PercentileNs(0.95), 400 * kMs);
  EXPECT_GT(result.latency.PercentileNs(0.99), 850 * kMs);
  EXPECT_NEAR(result.latency.mean_ns() / 1e6, 0.1 + 1111 * 500 / 9999.0, 2);
  EXPECT_GT(result.held_back, 1000);
  EXPECT_EQ(result.late, 0) << "the server's stall is not the generator's lateness";
}

// With room for all in flight nothing is held back, and both clocks agree.
TEST(DriverTest, WithSlotsEnoughNothingIsHeldBack) {
  FakeServer server;
  server.stall_from_ns = kStart + 5000 * kMs;
  server.stall_ns = 1000 * kMs;
  const DriveResult result = RunDriver(&server, OpenLoop(1000, 10'000 * kMs));
  EXPECT_EQ(result.answered, 9999);
  EXPECT_EQ(result.held_back, 0);
  EXPECT_EQ(result.late, 0);
  EXPECT_GT(server.most_in_flight, 900U);
  for (const double q : {0.5, 0.95, 0.99, 1.0}) {
    EXPECT_EQ(result.latency.PercentileNs(q), result.service.PercentileNs(q)) << q;
  }
  EXPECT_GT(result.latency.PercentileNs(0.99), 850 * kMs);
}

TEST(DriverTest, AClosedLoopKeepsItsNumberInFlight) {
  FakeServer server;
  DriveOptions options;
  options.in_flight = 40;
  options.duration_ns = 100 * kMs;
  std::vector<int64_t> exact_ns;
  DriveWatch watch;
  watch.exact_ns = &exact_ns;
  const DriveResult result = RunDriver(&server, options, watch);
  EXPECT_EQ(server.most_in_flight, 40U);
  EXPECT_NEAR(static_cast<double>(result.answered), 1040, 1);
  EXPECT_EQ(result.latency.PercentileNs(0.5), result.service.PercentileNs(0.5));
  EXPECT_EQ(exact_ns.size(), static_cast<size_t>(result.answered));
  EXPECT_EQ(*std::max_element(exact_ns.begin(), exact_ns.end()), 40 * 100'000);
  EXPECT_NEAR(result.AnswersPerSecond(), 10'000, 1) << "one worker, 100 us each";
  EXPECT_EQ(result.late, 0);
}

TEST(DriverTest, TheCountEndsALoadAndRequestsTakeTurns) {
  FakeServer server;
  DriveOptions options;
  options.in_flight = 3;
  options.requests = 20;
  EXPECT_EQ(RunDriver(&server, options).sent, 20);
  ASSERT_EQ(server.requests.size(), 20U);
  for (size_t i = 0; i < 20; ++i) EXPECT_EQ(server.requests[i], i % 8);
  options = OpenLoop(1000, 0);
  options.requests = 7;
  FakeServer open;
  const DriveResult result = RunDriver(&open, options);
  EXPECT_EQ(result.sent, 7);
  EXPECT_EQ(result.unsent, 0);
}

TEST(DriverTest, WhatIsDueInTheWarmUpIsSentNotMeasured) {
  FakeServer server;
  server.stall_from_ns = kStart;  // a cold server
  server.stall_ns = 500 * kMs;
  server.scripted[3] = Failure("UNAVAILABLE", "cold", false);
  DriveOptions options = OpenLoop(1000, 2000 * kMs);
  options.warm_up_ns = 1000 * kMs;
  const DriveResult result = RunDriver(&server, options);
  EXPECT_EQ(result.warm_up_sent, 999);
  EXPECT_EQ(result.warm_up_failed, 1);
  EXPECT_EQ(result.sent, 2000);
  EXPECT_EQ(result.failed, 0);
  EXPECT_LT(result.latency.max_ns(), kMs);
  EXPECT_NEAR(result.seconds, 2, 0.001);
  EXPECT_NEAR(result.AnswersPerSecond(), 1000, 1);
}

// 10,000/s are asked for, and each send takes the generator 200 us: it cannot.
TEST(DriverTest, AGeneratorThatIsTooSlowSaysSo) {
  FakeServer server;
  server.service_ns = 1000;
  server.send_cost_ns = 200'000;
  const DriveResult result = RunDriver(&server, OpenLoop(10'000, 1000 * kMs));
  EXPECT_GT(result.late, 4900);
  EXPECT_EQ(result.held_back, 0);
  EXPECT_GT(result.worst_late_ns, 500 * kMs);
  // To the end and its grace it could send 5500 of 10,000.
  EXPECT_NEAR(static_cast<double>(result.sent), 5500, 10);
  EXPECT_EQ(result.sent + result.unsent, 9999);
}

TEST(DriverTest, WhatNoSlotWasFreeForIsToldAsUnsent) {
  FakeServer server;
  server.service_ns = 10 * kMs;
  DriveOptions options = OpenLoop(1000, 1000 * kMs);
  options.in_flight = 2;
  const DriveResult result = RunDriver(&server, options);
  EXPECT_EQ(result.late, 0);
  EXPECT_GT(result.held_back, 90);
  EXPECT_EQ(result.sent + result.unsent, 999);
  EXPECT_GT(result.latency.max_ns(), 900 * kMs);
  EXPECT_LE(result.service.max_ns(), 20 * kMs);
}

// Else an overload would spend the measured time on what was due before it.
TEST(DriverTest, TheWarmUpsBacklogIsDropped) {
  FakeServer server;
  server.service_ns = 10 * kMs;
  DriveOptions options = OpenLoop(1000, 1000 * kMs);
  options.warm_up_ns = 1000 * kMs;
  options.in_flight = 2;
  const DriveResult result = RunDriver(&server, options);
  EXPECT_NEAR(static_cast<double>(result.warm_up_sent), 100, 4);
  EXPECT_NEAR(static_cast<double>(result.sent), 110, 4);
  EXPECT_EQ(result.sent + result.unsent, 1000);
  EXPECT_NEAR(result.ErrorRate(), 0.89, 0.01) << "what was due and never sent is no success";
}

TEST(DriverTest, FailuresAreCountedByCodeAndHaveNoLatency) {
  FakeServer server;
  server.scripted[1] = Failure("DEADLINE_EXCEEDED", "first", false);
  server.scripted[2] = Failure("DEADLINE_EXCEEDED", "second", false);
  server.scripted[3] = Failure("HTTP 503", "full", true);
  server.scripted[4].outcome = Outcome::kMismatched;
  DriveOptions options;
  options.requests = 10;
  const DriveResult result = RunDriver(&server, options);
  EXPECT_EQ(result.failed, 3);
  EXPECT_EQ(result.mismatched, 1);
  EXPECT_EQ(result.answered, 6);
  EXPECT_EQ(result.errors.at("DEADLINE_EXCEEDED").count, 2);
  EXPECT_EQ(result.errors.at("DEADLINE_EXCEEDED").example, "first");
  EXPECT_EQ(result.errors.at("HTTP 503").count, 1);
  EXPECT_EQ(result.latency.count(), 7) << "a wrong answer took its time too";
  EXPECT_NEAR(result.ErrorRate(), 0.4, 1e-9);
}

TEST(DriverTest, ARetryIsTheSameRequestAndItsLatencyHoldsAllTries) {
  FakeServer server;
  server.scripted[0] = Failure("UNAVAILABLE", "gone", true);
  server.scripted[1] = Failure("UNAVAILABLE", "gone", true);
  server.scripted[3] = Failure("INVALID_ARGUMENT", "no", false);
  DriveOptions options;
  options.requests = 2;
  options.retries = 2;
  const DriveResult result = RunDriver(&server, options);
  EXPECT_EQ(server.requests, (std::vector<size_t>{0, 0, 0, 1}));
  EXPECT_EQ(server.repeats, 2);
  EXPECT_EQ(result.retried, 2);
  EXPECT_EQ(result.answered, 1);
  EXPECT_EQ(result.failed, 1) << "what may not be retried is not";
  EXPECT_EQ(result.latency.max_ns(), 300'000);
  EXPECT_EQ(result.service.max_ns(), 100'000);
}

TEST(DriverTest, StopEndsItAfterWhatIsInFlight) {
  FakeServer server;
  server.service_ns = 10 * kMs;
  server.stop_at_ns = kStart + 500 * kMs;
  DriveOptions options = OpenLoop(50, 60'000 * kMs);
  options.stop = &server.stop;
  const DriveResult result = RunDriver(&server, options);
  EXPECT_TRUE(result.stopped);
  EXPECT_NEAR(static_cast<double>(result.sent), 25, 1);
  EXPECT_EQ(result.unsent, 0) << "what was called off is not owed";
  EXPECT_LT(result.seconds, 0.6);
}

TEST(DriverTest, ProgressComesFiveTimesASecondAndEndsNearTheWhole) {
  FakeServer server;
  DriveOptions options = OpenLoop(100, 4000 * kMs);
  options.warm_up_ns = 1000 * kMs;
  std::vector<double> shares;
  int warming = 0;
  DriveWatch watch;
  watch.progress = [&](const DriveProgress& progress) {
    shares.push_back(progress.done_share);
    warming += progress.warming_up;
    EXPECT_NE(progress.result, nullptr);
  };
  RunDriver(&server, options, watch);
  EXPECT_NEAR(static_cast<double>(shares.size()), 24, 2);
  EXPECT_NEAR(warming, 4, 1);
  EXPECT_TRUE(std::is_sorted(shares.begin(), shares.end()));
  EXPECT_GT(shares.back(), 0.9);
  EXPECT_LE(shares.back(), 1);
}

TEST(DriverTest, NothingSentIsAllError) { EXPECT_EQ(DriveResult().ErrorRate(), 1); }

}  // namespace
}  // namespace millrace
