#include "kernels/simt/report.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

namespace millrace::simt {
namespace {

struct Settings {
  std::mutex mutex;
  Options options;
  ReportHandler handler;
};

Settings& Global() {
  static Settings* const settings = new Settings;  // outlives every thread
  return *settings;
}

std::string Coordinates(const uint3& at) {
  return "(" + std::to_string(at.x) + "," + std::to_string(at.y) + "," + std::to_string(at.z) + ")";
}

}  // namespace

const char* CheckName(Check check) {
  switch (check) {
    case Check::kDivergentBarrier:
      return "divergent barrier";
    case Check::kMissingLane:
      return "missing lane";
    case Check::kExitedLane:
      return "exited lane in mask";
    case Check::kOwnLane:
      return "own lane not in mask";
    case Check::kShuffleSource:
      return "shuffle from outside the mask";
    case Check::kOutOfRange:
      return "shared access out of range";
    case Check::kMisaligned:
      return "misaligned shared access";
    case Check::kUninitialized:
      return "uninitialised shared read";
    case Check::kRace:
      return "shared race";
    case Check::kHostPointer:
      return "host pointer";
    case Check::kNoProgress:
      return "no progress";
    case Check::kSharedLimit:
      return "too much shared memory";
    case Check::kTrap:
      return "trap";
  }
  return "unknown";
}

std::string ToString(const Report& report) {
  return std::string("simt: ") + CheckName(report.check) + " in " + report.kernel + ", block " +
         Coordinates(report.block) + ", thread " + Coordinates(report.thread) + ": " +
         report.sentence;
}

void SetOptions(const Options& options) {
  const std::lock_guard lock(Global().mutex);
  Global().options = options;
}

Options GetOptions() {
  const std::lock_guard lock(Global().mutex);
  return Global().options;
}

void SetReportHandler(ReportHandler handler) {
  const std::lock_guard lock(Global().mutex);
  Global().handler = std::move(handler);
}

void Deliver(const Report& report) {
  ReportHandler handler;
  {
    const std::lock_guard lock(Global().mutex);
    handler = Global().handler;
  }
  if (handler) {
    handler(report);
    return;
  }
  std::fprintf(stderr, "%s\n", ToString(report).c_str());
  std::abort();
}

ReportCollector::ReportCollector() {
  SetReportHandler([this](const Report& report) { reports_.push_back(report); });
}

ReportCollector::~ReportCollector() { SetReportHandler(nullptr); }

int ReportCollector::Count(Check check) const {
  int count = 0;
  for (const Report& report : reports_) count += report.check == check;
  return count;
}

}  // namespace millrace::simt
