#include "tools/bench/trees_bench/summary.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/check.h"
#include "tools/bench/ipc_bench/stats.h"

namespace millrace::bench {
namespace {

// What is asked of one row of 500 trees of depth 6, beside the fastest version of each library.
constexpr char kClaimCase[] = "xgb_500x6";
struct Asked {
  const char* library;
  double ratio;
};
constexpr Asked kAsked[] = {{"xgboost", 6}, {"onnxruntime", 3}};

double MedianRatio(const std::vector<double>& theirs, const std::vector<double>& ours) {
  std::vector<double> ratios;
  for (size_t i = 0; i < theirs.size(); ++i) ratios.push_back(theirs[i] / ours[i]);
  return Median(std::move(ratios));
}

std::string EqualText(const Figure& figure) {
  if (figure.exact) return "all bits";
  if (figure.distances.unequal == 0) return "all bits, as float";
  const double share = 100.0 * static_cast<double>(figure.distances.unequal) /
                       static_cast<double>(figure.distances.compared);
  return absl::StrFormat("%.1f %% differ, by %.1e at most", share, figure.distances.max_difference);
}

}  // namespace

std::vector<Figure> Figures(const std::string& test_case, size_t batch,
                            const std::vector<Timing>& timings) {
  const auto ours = std::find_if(timings.begin(), timings.end(),
                                 [](const Timing& timing) { return timing.subject == kOurs; });
  MR_CHECK(ours != timings.end(), "ratios need our own timing");
  std::vector<Figure> figures;
  for (const Timing& timing : timings) {
    figures.push_back({.test_case = test_case,
                       .subject = timing.subject,
                       .batch = batch,
                       .exact = timing.exact,
                       .call_ns = Median(timing.call_ns),
                       .call_ns_p25 = Percentile(timing.call_ns, 0.25),
                       .call_ns_p75 = Percentile(timing.call_ns, 0.75),
                       .ratio = MedianRatio(timing.call_ns, ours->call_ns),
                       .distances = timing.distances});
  }
  return figures;
}

void PrintFigures(const std::string& title, const std::vector<Figure>& figures) {
  std::vector<std::vector<std::string>> lines = {
      {"batch", "subject", "us a call", "p25..p75", "ns a row", "x ours", "equal to the trainer"}};
  size_t batch = 0;
  for (const Figure& figure : figures) {
    lines.push_back(
        {figure.batch == batch ? "" : absl::StrCat(figure.batch), figure.subject,
         absl::StrFormat("%.2f", figure.call_ns / 1000),
         absl::StrFormat("%.2f..%.2f", figure.call_ns_p25 / 1000, figure.call_ns_p75 / 1000),
         absl::StrFormat("%.1f", figure.row_ns()), absl::StrFormat("%.2f", figure.ratio),
         EqualText(figure)});
    batch = figure.batch;
  }
  PrintTable(title, lines);
}

std::vector<Row> JsonRows(const std::vector<Figure>& figures) {
  std::vector<Row> rows;
  for (const Figure& figure : figures) {
    const std::string name = absl::StrCat(figure.test_case, ", batch ", figure.batch);
    const auto add = [&](const char* metric, const char* unit, double value) {
      rows.push_back({name, figure.subject, metric, unit, value});
    };
    add("call", "us", figure.call_ns / 1000);
    add("call_p25", "us", figure.call_ns_p25 / 1000);
    add("call_p75", "us", figure.call_ns_p75 / 1000);
    add("row", "ns", figure.row_ns());
    add("time_over_ours", "ratio", figure.ratio);
    add("unequal_margins", "margins", static_cast<double>(figure.distances.unequal));
    add("max_distance", "ulp", static_cast<double>(figure.distances.max_ulp));
    add("max_difference", "margin", figure.distances.max_difference);
  }
  return rows;
}

std::vector<std::string> Claims(const std::vector<Figure>& figures) {
  std::vector<std::string> lines;
  for (const Asked& asked : kAsked) {
    const Figure* fastest = nullptr;
    for (const Figure& figure : figures) {
      if (figure.test_case == kClaimCase && figure.batch == 1 &&
          absl::StartsWith(figure.subject, asked.library) &&
          (fastest == nullptr || figure.ratio < fastest->ratio)) {
        fastest = &figure;
      }
    }
    const std::string head = absl::StrCat("batch 1, ", kClaimCase, ": ");
    lines.push_back(fastest == nullptr
                        ? absl::StrCat(head, asked.library, " was not measured")
                        : absl::StrFormat("%s%.1f x %s (at least %g asked: %s)", head,
                                          fastest->ratio, fastest->subject, asked.ratio,
                                          fastest->ratio >= asked.ratio ? "yes" : "NO"));
  }
  size_t cells = 0;
  std::vector<std::string> not_behind;
  for (const Figure& figure : figures) {
    if (figure.subject == kOurs) continue;
    ++cells;
    if (figure.ratio > 1) continue;
    not_behind.push_back(absl::StrFormat("  %s, batch %d: %s takes %.2f of our time",
                                         figure.test_case, figure.batch, figure.subject,
                                         figure.ratio));
  }
  if (cells == 0) {
    lines.push_back("ahead of all peers: no peer was measured");
  } else {
    lines.push_back(absl::StrFormat("ahead in %d of %d comparisons%s", cells - not_behind.size(),
                                    cells, not_behind.empty() ? "" : "; not in:"));
  }
  lines.insert(lines.end(), not_behind.begin(), not_behind.end());
  return lines;
}

}  // namespace millrace::bench
