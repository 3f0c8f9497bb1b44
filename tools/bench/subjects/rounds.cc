#include "tools/bench/subjects/rounds.h"

#include <algorithm>

namespace millrace {

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

namespace {

struct Samples {
  std::vector<double> p50_us, p99_us, requests_per_s;
  int64_t failed = 0;

  void Add(const LoadReport& report) {
    p50_us.push_back(static_cast<double>(report.PercentileNs(0.5)) / 1e3);
    p99_us.push_back(static_cast<double>(report.PercentileNs(0.99)) / 1e3);
    requests_per_s.push_back(report.RequestsPerSecond());
    failed += report.failed + report.mismatched;
  }
};

}  // namespace

std::vector<std::vector<Figures>> RunRounds(const std::vector<Subject>& subjects, int rounds) {
  const size_t cases = subjects.empty() ? 0 : subjects[0].cases.size();
  std::vector<std::vector<Samples>> samples(subjects.size(), std::vector<Samples>(cases));
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < subjects.size(); ++i) {
      const size_t at = (i + static_cast<size_t>(round)) % subjects.size();
      subjects[at].settle();
      for (size_t c = 0; c < cases; ++c) {
        if (subjects[at].cases[c]) samples[at][c].Add(subjects[at].cases[c]());
      }
    }
  }
  std::vector<std::vector<Figures>> figures(cases);
  for (size_t c = 0; c < cases; ++c) {
    for (size_t i = 0; i < subjects.size(); ++i) {
      if (!subjects[i].cases[c]) continue;
      const Samples& of = samples[i][c];
      figures[c].push_back({subjects[i].name, Median(of.p50_us), Median(of.p99_us),
                            Median(of.requests_per_s), of.failed});
    }
  }
  return figures;
}

}  // namespace millrace
