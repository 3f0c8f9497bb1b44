// The closed loop of the benches and tests, over the driver.
#include "tools/load/load.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "tools/load/driver.h"
#include "tools/load/history_file.h"
#include "tools/load/transport.h"

namespace millrace {
namespace {

LoadReport Run(const GoldenSet& golden, const LoadOptions& options, Transport* transport) {
  DriveOptions drive;
  drive.in_flight = options.in_flight;
  drive.duration_ns = options.duration_ms * kNanosPerMilli;
  drive.requests = options.requests;
  drive.retries = options.retries;
  drive.stop = options.stop;
  LoadReport report;
  MonotonicClock clock;
  DriveWatch watch;
  watch.exact_ns = &report.latencies_ns;
  std::unique_ptr<HistoryFile> history;
  if (!options.history.empty()) {
    auto opened = HistoryFile::Open(options.history);
    MR_CHECK(opened.ok(), "the history's file can be written");
    history = std::move(*opened);
    watch.event = [&history](const DriveEvent& event) { history->Write(event); };
  }
  const DriveResult result = Drive(transport, &clock, golden.requests.size(), drive, watch);
  std::sort(report.latencies_ns.begin(), report.latencies_ns.end());
  report.sent = result.sent;
  report.answered = result.answered;
  report.mismatched = result.mismatched;
  report.failed = result.failed;
  report.retried = result.retried;
  for (const auto& [code, error] : result.errors) {
    report.failures[absl::StrCat(code, ": ", error.example)] = error.count;
  }
  report.seconds = result.seconds;
  return report;
}

TransportOptions OptionsFor(const LoadOptions& options) {
  TransportOptions transport;
  transport.address = options.address;
  transport.connections = options.channels;
  transport.deadline_ms = options.deadline_ms;
  transport.told_ms = options.told_ms;
  return transport;
}

}  // namespace

LoadReport RunGrpcLoad(const GoldenSet& golden, const LoadOptions& options) {
  return Run(golden, options,
             MakeGrpcTransport(golden, OptionsFor(options), options.in_flight).get());
}

LoadReport RunGrpcStreamLoad(const GoldenSet& golden, const LoadOptions& options) {
  return Run(golden, options,
             MakeGrpcStreamTransport(golden, OptionsFor(options), options.in_flight).get());
}

namespace {

LoadReport RunIfMade(const GoldenSet& golden, const LoadOptions& options,
                     const absl::StatusOr<std::unique_ptr<Transport>>& transport) {
  if (transport.ok()) return Run(golden, options, transport->get());
  LoadReport report;
  report.sent = report.failed = 1;
  report.failures[std::string(transport.status().message())] = 1;
  return report;
}

}  // namespace

LoadReport RunHttpLoad(const GoldenSet& golden, const LoadOptions& options) {
  return RunIfMade(golden, options,
                   MakeHttpTransport(golden, OptionsFor(options), options.in_flight));
}

LoadReport RunLocalLoad(const GoldenSet& golden, const LoadOptions& options) {
  return RunIfMade(golden, options,
                   MakeLocalTransport(golden, OptionsFor(options), options.in_flight));
}

}  // namespace millrace
