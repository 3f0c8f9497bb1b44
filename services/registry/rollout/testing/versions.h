// Two versions under load, by seed: what ingress would have counted of them, second by second.
#pragma once

#include <math.h>
#include <stdint.h>

#include <random>
#include <string>
#include <vector>

#include "common/time_edges.h"
#include "ipc/stats_words.h"
#include "services/registry/rollout/testing/fake_hands.h"

namespace millrace {

// How a version answers.
struct Behaviour {
  double median_ms = 10;
  double crashes = 0;      // share of its requests that kill two workers and are answered INTERNAL
  double errors = 0;       // share that it answers with UNAVAILABLE
  double changed = 0.002;  // share of rows decided otherwise than by version 1
};
// What befalls every request, whichever version it is for.
struct Weather {
  double delayed = 0;  // share, by 20 ms
  double lost = 0;     // share, until the deadline
};

class Versions {
 public:
  Versions(FakeHands* hands, uint64_t seed, Behaviour candidate, Weather weather)
      : hands_(hands),
        random_(seed),
        candidate_(candidate),
        weather_(weather),
        words_(2, std::vector<uint64_t>(kStatsWords)) {}

  // A second of load, then the statistics as the supervisor sends them.
  VersionStatistics Second(size_t requests) {
    const double share = hands_->PartsOf("churn", "2") / double{kRolloutParts};
    const bool shadow_only = share == 0 && !hands_->routes.empty() && Shadows();
    for (size_t i = 0; i < requests; ++i) {
      const size_t version = Chance(share) ? 1 : 0;
      const bool answered = Serve(version);
      if (shadow_only) Copy(1, answered);
      if (version == 1 && Shadows()) Copy(0, answered);
    }
    hands_->now_ns += kNanosPerSecond;
    VersionStatistics statistics;
    statistics.set_taken_ns(hands_->now_ns);
    for (size_t i = 0; i < 2; ++i) {
      VersionStatistics::Version* one = statistics.add_versions();
      one->set_model("churn");
      one->set_version(i == 0 ? "1" : "2");
      one->mutable_words()->Add(words_[i].begin(), words_[i].end());
    }
    return statistics;
  }

  void ForgetAll() { words_.assign(2, std::vector<uint64_t>(kStatsWords)); }
  bool copies = true;  // the machine has room for them

 private:
  bool Shadows() {
    const auto route = hands_->RouteNow("churn");
    return copies && route.has_value() && route->rules(route->rules_size() - 1).shadows_size() > 0;
  }
  bool Chance(double p) { return p > 0 && uniform_(random_) < p; }
  void Code(size_t version, size_t code) { words_[version][StatsCodeAt(code)] += 1; }

  bool Serve(size_t version) {
    const Behaviour behaviour = version == 1 ? candidate_ : Behaviour();
    if (Chance(behaviour.crashes)) {
      Code(version, 13);
      // Who was on the same worker is replayed, and some come too late.
      for (int i = 0; i < 3; ++i) Code(Chance(0.5) ? 1 : 0, 4);
      return false;
    }
    if (Chance(weather_.lost)) return Code(version, 4), false;
    if (Chance(behaviour.errors)) return Code(version, 14), false;
    double ms = behaviour.median_ms * exp(0.3 * normal_(random_));
    if (Chance(weather_.delayed)) ms += 20;
    Code(version, 0);
    const size_t at = StatsTimeAt(StatsTime::kTotal);
    words_[version][at + 1 + TimeBucket(static_cast<uint64_t>(ms * 1e6))] += 1;
    words_[version][at] += static_cast<uint64_t>(ms * 1e6);
    return true;
  }

  void Copy(size_t version, bool answered) {
    auto add = [&](StatsSum sum, uint64_t n) { words_[version][StatsSumAt(sum)] += n; };
    add(StatsSum::kShadowed, 1);
    if (!answered) return;
    if (Chance(weather_.lost) || (version == 1 && Chance(candidate_.crashes))) {
      add(StatsSum::kShadowFailed, 1);
      return;
    }
    add(StatsSum::kCompared, 1);
    add(StatsSum::kChanged, Chance(candidate_.changed) ? 1 : 0);
  }

  FakeHands* const hands_;
  std::mt19937_64 random_;
  std::uniform_real_distribution<double> uniform_;
  std::normal_distribution<double> normal_;
  const Behaviour candidate_;
  const Weather weather_;
  std::vector<std::vector<uint64_t>> words_;
};

}  // namespace millrace
