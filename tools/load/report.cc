#include "tools/load/report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace millrace {
namespace {

using nlohmann::json;

struct Quantile {
  const char* head;
  const char* key;
  double q;
};
constexpr Quantile kQuantiles[] = {{"p50", "p50", 0.5},       {"p90", "p90", 0.9},
                                   {"p95", "p95", 0.95},      {"p99", "p99", 0.99},
                                   {"p99.9", "p99_9", 0.999}, {"max", "max", 1}};
// Of the sent requests, a share of late ones above this is a warning.
constexpr double kLateShare = 0.01;

bool IsOpen(const LoadRun& run) { return !run.points.empty() && run.points[0].rate_per_s > 0; }

std::string Header(const LoadRun& run) {
  std::string text = absl::StrFormat("%s over %s %s, %d %s a request (%s), deadline %d ms\n",
                                     run.model, run.protocol, run.address, run.rows_per_request,
                                     run.rows_per_request == 1 ? "row" : "rows",
                                     run.generated ? "made up" : "from the file", run.deadline_ms);
  if (run.protocol == "gRPC") {
    absl::StrAppendFormat(&text, "%d connection%s, ", run.connections,
                          run.connections == 1 ? "" : "s");
  }
  if (IsOpen(run)) {
    absl::StrAppendFormat(&text, "open loop, %s arrivals, at most %d in flight\n",
                          run.arrivals == "poisson" ? "Poisson" : "constant",
                          run.points[0].in_flight);
  } else {
    absl::StrAppend(&text, "closed loop: a slow server is asked less often (--rate: open loop)\n");
  }
  absl::StrAppend(&text, run.compared ? "answers compared with the expected ones\n"
                                      : "answers not compared: none are expected\n");
  return text;
}

std::string Row(const std::string& point, const std::string& counts, const char* kind,
                const Histogram& histogram) {
  std::string text = absl::StrFormat("%-14s%s  %-8s", point, counts, kind);
  absl::StrAppendFormat(&text, "%10.3f", histogram.mean_ns() / kNanosPerMilli);
  for (const Quantile& quantile : kQuantiles) {
    absl::StrAppendFormat(&text, "%10.3f",
                          static_cast<double>(histogram.PercentileNs(quantile.q)) / kNanosPerMilli);
  }
  return text + "\n";
}

std::string Table(const LoadRun& run) {
  std::string text = absl::StrFormat("\n%-14s%12s%10s%8s%8s  %-8s%10s", "load", "answers/s", "sent",
                                     "wrong", "failed", "ms", "mean");
  for (const Quantile& quantile : kQuantiles) absl::StrAppendFormat(&text, "%10s", quantile.head);
  text += "\n";
  for (const LoadPoint& point : run.points) {
    const DriveResult& result = point.result;
    const std::string counts = absl::StrFormat("%12.1f%10d%8d%8d", result.AnswersPerSecond(),
                                               result.sent, result.mismatched, result.failed);
    text += Row(point.Name(), counts, point.rate_per_s > 0 ? "latency" : "service",
                point.rate_per_s > 0 ? result.latency : result.service);
    if (point.rate_per_s > 0) text += Row("", std::string(38, ' '), "service", result.service);
  }
  if (IsOpen(run)) {
    text +=
        "latency: from when a request was due (corrected for coordinated omission); service: from "
        "when it was sent\n";
  }
  return text;
}

// Everything that a reader must know before he believes the figures.
std::string Remarks(const LoadPoint& point) {
  const DriveResult& result = point.result;
  std::string text;
  const auto say = [&](const std::string& what) {
    absl::StrAppend(&text, point.Name(), ": ", what, "\n");
  };
  if (result.sent == 0) say("nothing was sent");
  for (const auto& [code, error] : result.errors) {
    say(absl::StrCat(error.count, " x ", code, ": ", error.example));
  }
  if (result.mismatched > 0) {
    say(absl::StrCat(result.mismatched, " answers with other bytes than expected"));
  }
  if (result.retried > 0) say(absl::StrCat(result.retried, " tried again"));
  if (result.warm_up_failed > 0) {
    say(absl::StrFormat("%d of %d in the warm-up failed (not counted)", result.warm_up_failed,
                        result.warm_up_sent));
  }
  if (result.late > 0) {
    const bool much = static_cast<double>(result.late) > kLateShare * result.sent;
    say(absl::StrFormat(
        "%d of %d sent more than 1 ms late, the worst %.1f ms: the generator was "
        "too slow%s",
        result.late, result.sent, static_cast<double>(result.worst_late_ns) / kNanosPerMilli,
        much ? ". WARNING: the latency tells of this client, not of the server "
               "alone"
             : ""));
  }
  if (result.held_back > 0) {
    say(absl::StrFormat("%d of %d held back: all %d in flight were in use", result.held_back,
                        result.sent, point.in_flight));
  }
  if (result.unsent > 0) {
    say(
        absl::StrFormat("%d more were due and never sent: this rate was not reached, and what they "
                        "would have waited is in no figure",
                        result.unsent));
  }
  if (result.stopped) say("ended early by a signal");
  return text;
}

json HistogramJson(const Histogram& histogram) {
  json of = {{"count", histogram.count()},
             {"mean", histogram.mean_ns() / kNanosPerMicro},
             {"min", static_cast<double>(histogram.min_ns()) / kNanosPerMicro}};
  for (const Quantile& quantile : kQuantiles) {
    of[quantile.key] = static_cast<double>(histogram.PercentileNs(quantile.q)) / kNanosPerMicro;
  }
  return of;
}

json PointJson(const LoadRun& run, const LoadPoint& point) {
  const DriveResult& result = point.result;
  json errors = json::object();
  for (const auto& [code, error] : result.errors) {
    errors[code] = {{"count", error.count}, {"example", error.example}};
  }
  const bool open = point.rate_per_s > 0;
  return {{"name", point.Name()},
          {"rate_per_s", open ? json(point.rate_per_s) : json()},
          {"in_flight", open ? json() : json(point.in_flight)},
          {"max_in_flight", point.in_flight},
          {"seconds", result.seconds},
          {"sent", result.sent},
          {"answered", result.answered},
          {"mismatched", result.mismatched},
          {"failed", result.failed},
          {"retried", result.retried},
          {"error_rate", result.ErrorRate()},
          {"errors", errors},
          {"answers_per_s", result.AnswersPerSecond()},
          {"rows_per_s", result.AnswersPerSecond() * static_cast<double>(run.rows_per_request)},
          {"latency_us", HistogramJson(result.latency)},
          {"service_us", HistogramJson(result.service)},
          {"late", result.late},
          {"worst_late_us", static_cast<double>(result.worst_late_ns) / kNanosPerMicro},
          {"held_back", result.held_back},
          {"unsent", result.unsent},
          {"warm_up", {{"sent", result.warm_up_sent}, {"failed", result.warm_up_failed}}},
          {"stopped", result.stopped}};
}

}  // namespace

std::string LoadPoint::Name() const {
  return rate_per_s > 0 ? absl::StrCat(rate_per_s, "/s") : absl::StrCat(in_flight, " in flight");
}

std::string RenderLoad(const LoadRun& run) {
  std::string text = Header(run) + Table(run);
  for (const LoadPoint& point : run.points) text += Remarks(point);
  return text;
}

json LoadJson(const LoadRun& run) {
  json points = json::array();
  for (const LoadPoint& point : run.points) points.push_back(PointJson(run, point));
  return {{"format", 1},
          {"model", run.model},
          {"protocol", run.protocol},
          {"address", run.address},
          {"loop", IsOpen(run) ? "open" : "closed"},
          {"arrivals", IsOpen(run) ? json(run.arrivals) : json()},
          {"seed", run.seed},
          {"connections", run.protocol == "gRPC" ? json(run.connections) : json()},
          {"deadline_ms", run.deadline_ms},
          {"rows_per_request", run.rows_per_request},
          {"generated", run.generated},
          {"compared", run.compared},
          {"points", points}};
}

bool LoadIsGood(const LoadRun& run, double max_error_rate) {
  for (const LoadPoint& point : run.points) {
    if (point.result.sent == 0 || point.result.ErrorRate() > max_error_rate) return false;
  }
  return !run.points.empty();
}

}  // namespace millrace
