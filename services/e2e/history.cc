#include "services/e2e/history.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

namespace millrace {
namespace {

constexpr size_t kMostTold = 20;

struct Request {
  bool open = false;  // a try is on its way
  bool ended = false;
  int64_t sent_ns = 0;  // of the try
};

class Checker {
 public:
  explicit Checker(const HistoryRules& rules) : rules_(rules) {}

  void Line(const std::string& line) {
    std::istringstream words(line);
    std::string kind, code;
    int64_t number = -1, at_ns = 0;
    words >> kind >> number >> at_ns;
    if (!words || number < 0) return Violate("cannot be read: " + line);
    std::getline(words >> std::ws, code);
    if (kind == "S") {
      Sent(number, at_ns, line);
    } else if (kind == "A") {
      EndTry(number, at_ns, line);
      if (rules_.repeatable.count(code) == 0) Violate("asked again after this: " + line);
    } else if (kind == "E") {
      EndTry(number, at_ns, line);
      End(number, code, line);
    } else {
      Violate("cannot be read: " + line);
    }
  }

  HistoryReport Conclude() {
    for (const auto& [number, request] : requests_) {
      if (!request.ended) Violate("request " + std::to_string(number) + " has no end");
    }
    const auto in_time = static_cast<double>(report_.tries - report_.late);
    if (in_time < rules_.share_in_time * static_cast<double>(report_.tries)) {
      report_.late_violations.push_back(std::to_string(report_.late) + " of " +
                                        std::to_string(report_.tries) + " tries ended late");
    }
    return std::move(report_);
  }

 private:
  void Violate(std::string why) {
    if (report_.violations.size() < kMostTold) report_.violations.push_back(std::move(why));
  }

  void Sent(int64_t number, int64_t at_ns, const std::string& line) {
    Request& request = requests_[number];
    if (request.ended) Violate("sent after its end: " + line);
    if (request.open) Violate("sent while it is on its way: " + line);
    if (request.sent_ns == 0) ++report_.requests;
    request.open = true;
    request.sent_ns = at_ns;
  }

  void EndTry(int64_t number, int64_t at_ns, const std::string& line) {
    Request& request = requests_[number];
    if (request.ended) return Violate("ended twice: " + line);
    if (!request.open) return Violate("ended without being sent: " + line);
    if (at_ns < request.sent_ns) Violate("ended before it was sent: " + line);
    request.open = false;
    ++report_.tries;
    const int64_t late_ns = at_ns - request.sent_ns - rules_.deadline_ns;
    report_.worst_late_ns = report_.tries == 1 ? late_ns : std::max(report_.worst_late_ns, late_ns);
    report_.late += late_ns > rules_.late_ns;
    if (late_ns > rules_.most_late_ns && report_.late_violations.size() < kMostTold) {
      report_.late_violations.push_back("late by " + std::to_string(late_ns / 1'000'000) +
                                        " ms: " + line);
    }
  }

  void End(int64_t number, const std::string& code, const std::string& line) {
    requests_[number].ended = true;
    report_.ok += code == "OK";
    if (rules_.documented.count(code) == 0) Violate("not documented: " + line);
  }

  const HistoryRules& rules_;
  std::map<int64_t, Request> requests_;
  HistoryReport report_;
};

}  // namespace

HistoryReport CheckHistory(std::string_view text, const HistoryRules& rules) {
  Checker checker(rules);
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) checker.Line(line);
  return checker.Conclude();
}

HistoryReport CheckHistoryFile(const std::string& path, const HistoryRules& rules) {
  std::ifstream file(path);
  HistoryReport report;
  if (!file) {
    report.violations.push_back("cannot be read: " + path);
    return report;
  }
  return CheckHistory(std::string{std::istreambuf_iterator<char>(file), {}}, rules);
}

}  // namespace millrace
