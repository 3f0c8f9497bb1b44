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

void Add(const LoadReport& report, Figures* figures) {
  figures->rounds.push_back({static_cast<double>(report.PercentileNs(0.5)) / 1e3,
                             static_cast<double>(report.PercentileNs(0.99)) / 1e3,
                             report.RequestsPerSecond()});
  figures->failed += report.failed + report.mismatched;
}

double MedianOf(const Figures& figures, double RoundFigures::*metric) {
  std::vector<double> values;
  for (const RoundFigures& round : figures.rounds) values.push_back(round.*metric);
  return Median(std::move(values));
}

}  // namespace

std::vector<std::vector<Figures>> RunRounds(const std::vector<Subject>& subjects, int rounds) {
  const size_t cases = subjects.empty() ? 0 : subjects[0].cases.size();
  std::vector<std::vector<Figures>> samples(subjects.size(), std::vector<Figures>(cases));
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < subjects.size(); ++i) {
      const size_t at = (i + static_cast<size_t>(round)) % subjects.size();
      subjects[at].settle();
      for (size_t c = 0; c < cases; ++c) {
        if (subjects[at].cases[c]) Add(subjects[at].cases[c](), &samples[at][c]);
      }
      if (subjects[at].leave) subjects[at].leave();
    }
  }
  std::vector<std::vector<Figures>> figures(cases);
  for (size_t c = 0; c < cases; ++c) {
    for (size_t i = 0; i < subjects.size(); ++i) {
      if (!subjects[i].cases[c]) continue;
      Figures& of = samples[i][c];
      of.subject = subjects[i].name;
      for (const auto metric :
           {&RoundFigures::p50_us, &RoundFigures::p99_us, &RoundFigures::requests_per_s}) {
        of.*metric = MedianOf(of, metric);
      }
      figures[c].push_back(std::move(of));
    }
  }
  return figures;
}

}  // namespace millrace
