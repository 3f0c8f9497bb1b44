#include "tools/bench/subjects/rounds.h"

#include <algorithm>

namespace millrace {

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::vector<Figures> RunRounds(const std::vector<Subject>& subjects, int rounds) {
  struct Samples {
    std::vector<double> p50_us, p99_us, requests_per_s;
    int64_t failed = 0;
  };
  std::vector<Samples> samples(subjects.size());
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < subjects.size(); ++i) {
      const size_t at = (i + static_cast<size_t>(round)) % subjects.size();
      const LoadReport report = subjects[at].run();
      samples[at].p50_us.push_back(static_cast<double>(report.PercentileNs(0.5)) / 1e3);
      samples[at].p99_us.push_back(static_cast<double>(report.PercentileNs(0.99)) / 1e3);
      samples[at].requests_per_s.push_back(report.RequestsPerSecond());
      samples[at].failed += report.failed + report.mismatched;
    }
  }
  std::vector<Figures> figures;
  for (size_t i = 0; i < subjects.size(); ++i) {
    figures.push_back({subjects[i].name, Median(samples[i].p50_us), Median(samples[i].p99_us),
                       Median(samples[i].requests_per_s), samples[i].failed});
  }
  return figures;
}

}  // namespace millrace
