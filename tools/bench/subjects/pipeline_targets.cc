#include "tools/bench/subjects/pipeline_targets.h"

#include <iostream>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace millrace {
namespace {

using Metric = double RoundFigures::*;

struct Asked {
  bool nothing;
  int in_flight;
  Metric metric;
  const char* subject;
  const char* beside;
  double ratio;
  bool at_most;
  double plus_us = 0;  // added to what the subject is held against
};

constexpr Metric kP50 = &RoundFigures::p50_us;
constexpr Metric kP99 = &RoundFigures::p99_us;
constexpr Metric kPerSecond = &RoundFigures::requests_per_s;
constexpr double kEchoPlusUs = 25;

const Asked kAsked[] = {
    {false, 1, kP50, "millrace", "grpc_echo", 1.0, true, kEchoPlusUs},
    {false, 1, kP50, "millrace", "grpc_in_line", 1.0, true},
    {false, 1, kP99, "millrace", "grpc_echo", 1.3, true},
    {false, 32, kPerSecond, "millrace", "grpc_in_line", 0.9, false},
    {false, 128, kPerSecond, "millrace", "grpc_in_line", 0.9, false},
    {false, 32, kP99, "millrace", "grpc_in_line", 1.3, true},
    {false, 128, kP99, "millrace", "grpc_in_line", 1.3, true},
    {true, 32, kPerSecond, "millrace", "grpc_echo", 0.75, false},
    {true, 128, kPerSecond, "millrace", "grpc_echo", 0.9, false},
    {false, 32, kPerSecond, "millrace_stream", "grpc_in_line", 1.5, false},
    {false, 1, kP50, "millrace", "grpc_xgboost", 1.0, true},
    {false, 1, kP99, "millrace", "grpc_xgboost", 1.0, true},
    {false, 32, kPerSecond, "millrace", "grpc_xgboost", 1.0, false},
    {false, 32, kP99, "millrace", "grpc_xgboost", 1.0, true},
    {false, 128, kPerSecond, "millrace", "grpc_xgboost", 1.0, false},
    {false, 128, kP99, "millrace", "grpc_xgboost", 1.0, true},
    {false, 1, kP50, "millrace_local", "grpc_echo", 0.3, true},
    {false, 1, kP50, "millrace_local_4_stages", "grpc_echo", 0.5, true},
    {false, 32, kPerSecond, "millrace_local", "grpc_in_line", 2.5, false},
    {true, 32, kPerSecond, "millrace_local", "grpc_echo", 15, false},
    {false, 1, kP50, "millrace", "unobserved", 1.05, true},
    {false, 1, kP99, "millrace", "unobserved", 1.05, true},
    {false, 32, kPerSecond, "millrace", "unobserved", 0.97, false},
    {false, 32, kP99, "millrace", "unobserved", 1.05, true},
    {false, 128, kPerSecond, "millrace", "unobserved", 0.97, false},
    {false, 128, kP99, "millrace", "unobserved", 1.05, true},
    {false, 1, kP99, "triton", "millrace", 3, false},
    {false, 32, kP99, "triton", "millrace", 3, false},
    {false, 1, kP99, "mlserver", "millrace", 3, false},
    {false, 32, kP99, "mlserver", "millrace", 3, false},
};

const char* NameOf(Metric metric) {
  return metric == kP50 ? "p50" : metric == kP99 ? "p99" : "requests/s";
}

const Figures* Find(const std::vector<CaseFigures>& cases, const Asked& asked,
                    std::string_view subject) {
  for (const CaseFigures& c : cases) {
    if (c.nothing != asked.nothing || c.in_flight != asked.in_flight) continue;
    for (const Figures& figures : c.figures) {
      if (figures.subject == subject) return &figures;
    }
  }
  return nullptr;
}

// The median of the rounds' ratios: what the machine does to a whole round is in both of its parts.
// Nothing where they were not measured in pairs.
std::optional<double> Ratio(const Figures& of, const Figures& beside, const Asked& asked) {
  if (of.rounds.empty() || of.rounds.size() != beside.rounds.size()) return std::nullopt;
  std::vector<double> ratios;
  for (size_t i = 0; i < of.rounds.size(); ++i) {
    if (beside.rounds[i].*asked.metric <= 0) return std::nullopt;
    ratios.push_back(of.rounds[i].*asked.metric / (beside.rounds[i].*asked.metric + asked.plus_us));
  }
  return Median(std::move(ratios));
}

}  // namespace

std::vector<Claim> Claims(const std::vector<CaseFigures>& cases) {
  std::vector<Claim> claims;
  for (const Asked& asked : kAsked) {
    const Figures* const of = Find(cases, asked, asked.subject);
    const Figures* const beside = Find(cases, asked, asked.beside);
    if (of == nullptr || beside == nullptr) continue;
    const std::optional<double> ratio = Ratio(*of, *beside, asked);
    if (!ratio.has_value()) continue;
    Claim claim;
    claim.text = absl::StrCat(NameOf(asked.metric), ", ", asked.in_flight, " in flight",
                              asked.nothing ? ", no work" : "", ": ", asked.subject, " / ");
    if (asked.plus_us > 0) {
      absl::StrAppend(&claim.text, "(", asked.beside, " + ", asked.plus_us, " us)");
    } else {
      absl::StrAppend(&claim.text, asked.beside);
    }
    claim.value = *ratio;
    claim.asked = asked.ratio;
    claim.at_most = asked.at_most;
    claims.push_back(std::move(claim));
  }
  return claims;
}

void PrintTargets(const std::vector<CaseFigures>& cases) {
  std::cout << absl::StreamFormat("\n%-64s %8s %9s\n", "ratios", "is", "asked");
  for (const Claim& claim : Claims(cases)) {
    std::cout << absl::StreamFormat("  %-62s %8.2f %s %6.2f%s\n", claim.text, claim.value,
                                    claim.at_most ? "<=" : ">=", claim.asked,
                                    claim.holds() ? "" : "  MISSED");
  }
}

}  // namespace millrace
