#include "tools/millrace/top_report.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "ipc/stats.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr char kUnknown[] = "-";

// A whole line has one style: it can be cut without looking at what is in it.
enum class Style { kPlain, kTitle, kHead, kGood, kBad, kWarn };

struct Line {
  std::string text;
  Style style = Style::kPlain;
};

const char* CodeOf(Style style) {
  switch (style) {
    case Style::kTitle:
      return "\033[1m";
    case Style::kHead:
      return "\033[2m";
    case Style::kGood:
      return "\033[32m";
    case Style::kBad:
      return "\033[31m";
    case Style::kWarn:
      return "\033[33m";
    default:
      return "";
  }
}

bool Continues(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

size_t Width(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !Continues(c); }));
}

std::string Cut(const std::string& text, size_t columns) {
  if (columns == 0 || Width(text) <= columns) return text;
  size_t at = 0;
  for (size_t seen = 0; at < text.size(); ++at) {
    if (!Continues(text[at]) && seen++ == columns) break;
  }
  return text.substr(0, at);
}

std::string Shown(const json& text) { return ShownText(text.get<std::string>()); }

std::string Grouped(double value) {
  std::string digits = absl::StrFormat("%.0f", value);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<size_t>(at), 1, ',');
  }
  return digits;
}

std::string Count(const json& value) {
  return value.is_number() ? Grouped(value.get<double>()) : kUnknown;
}

std::string Rate(const json& value) {
  if (!value.is_number()) return kUnknown;
  const double rate = value;
  return (rate > 0 && rate < 9.95 ? absl::StrFormat("%.1f", rate) : Grouped(rate)) + "/s";
}

std::string Share(const json& value) {
  if (!value.is_number()) return kUnknown;
  const double percent = value.get<double>() * 100;
  return absl::StrFormat(percent > 0 && percent < 9.95 ? "%.2f %%" : "%.0f %%", percent);
}

std::string Time(const json& ns) {
  if (!ns.is_number()) return kUnknown;
  const auto [value, unit] = [&]() -> std::pair<double, const char*> {
    const double raw = ns;
    if (raw < 999'500) return {raw / 1e3, " us"};
    if (raw < 999'500'000) return {raw / 1e6, " ms"};
    return {raw / 1e9, " s"};
  }();
  return (value < 9.95    ? absl::StrFormat("%.2f", value)
          : value < 99.95 ? absl::StrFormat("%.1f", value)
                          : Grouped(value)) +
         unit;
}

std::string Age(const json& ns) {
  if (!ns.is_number()) return kUnknown;
  const double s = ns.get<double>() / 1e9;
  if (s < 10) return absl::StrFormat("%.1f s", s);
  if (s < 120) return absl::StrFormat("%.0f s", s);
  return s < 7200 ? absl::StrFormat("%.0f min", s / 60) : absl::StrFormat("%.0f h", s / 3600);
}

std::string Mebibytes(const json& bytes) {
  return bytes.is_number() ? absl::StrFormat("%.0f MiB", bytes.get<double>() / (1 << 20))
                           : kUnknown;
}

// A member of a histogram that may not be there.
const json& Of(const json& histogram, const char* key) {
  static const json kNothing = nullptr;
  return histogram.is_object() ? histogram.at(key) : kNothing;
}

// Columns as wide as their longest cell; the first ones start at the left, the others end at the
// right.
class Table {
 public:
  Table(size_t left, std::vector<std::string> header) : left_(left) {
    Add(std::move(header), Style::kHead);
  }

  void Add(std::vector<std::string> cells, Style style = Style::kPlain) {
    widths_.resize(cells.size());
    for (size_t i = 0; i < cells.size(); ++i) widths_[i] = std::max(widths_[i], Width(cells[i]));
    rows_.emplace_back(std::move(cells), style);
  }
  bool empty() const { return rows_.size() == 1; }

  void To(std::vector<Line>* lines) const {
    lines->push_back({});
    for (const auto& [cells, style] : rows_) {
      std::string text;
      for (size_t i = 0; i < cells.size(); ++i) {
        const std::string space(widths_[i] - Width(cells[i]), ' ');
        absl::StrAppend(&text, i == 0 ? "" : "  ", i < left_ ? "" : space, cells[i],
                        i < left_ ? space : "");
      }
      lines->push_back({text.substr(0, text.find_last_not_of(' ') + 1), style});
    }
  }

 private:
  const size_t left_;
  std::vector<std::pair<std::vector<std::string>, Style>> rows_;
  std::vector<size_t> widths_;
};

void AddHeadline(const json& all, std::vector<Line>* lines) {
  const json& view_age = all.at("view_age_ns");
  const bool silent = !view_age.is_number() || view_age.get<double>() > 3e9;
  const bool ready = all.at("ready");
  lines->push_back({absl::StrCat("Millrace ", Shown(all.at("version")), "  ",
                                 silent  ? "the supervisor is silent"
                                 : ready ? "ready"
                                         : "NOT READY",
                                 "  numbers of the last ", Age(all.at("interval_ns"))),
                    silent  ? Style::kWarn
                    : ready ? Style::kTitle
                            : Style::kBad});
  const json& traffic = all.at("traffic");
  const json& events = all.at("events");
  lines->push_back({absl::StrCat(
      "requests ", Rate(traffic.at("per_second")), "  errors ", Share(traffic.at("error_share")),
      "  p50 ", Time(traffic.at("p50_ns")), "  p99 ", Time(traffic.at("p99_ns")), "  in time ",
      Share(traffic.at("slo_share")), "  in flight ", Count(traffic.at("in_flight")))});
  lines->push_back({absl::StrCat(
      "deaths ", Count(events.at("deaths")), "  hangs ", Count(events.at("hangs")), "  sent again ",
      Count(events.at("replayed")), "  poison ", Count(events.at("poisoned")), "  in quarantine ",
      Count(events.at("quarantined")), "  models ", Count(events.at("models")), "  not served ",
      Count(events.at("models_failed")))});
}

// "ingress 1/1 --1,240/s--> features 1/1 --...": the way through all stages.
void AddPicture(const json& all, std::vector<Line>* lines) {
  std::string way;
  std::string before;
  for (const json& stage : all.at("stages")) {
    const std::string name = Shown(stage.at("stage"));
    for (const json& link : all.at("links")) {
      if (link.at("from") != before || link.at("to") != name) continue;
      absl::StrAppend(&way, " --", Rate(link.at("per_second")), "--> ");
    }
    absl::StrAppend(&way, name, " ", Count(stage.at("ready")), "/", Count(stage.at("wanted")));
    if (stage.at("breaker") != "closed") absl::StrAppend(&way, " SHUT OUT");
    before = name;
  }
  lines->push_back({});
  lines->push_back({way, Style::kTitle});
}

void AddHops(const json& all, std::vector<Line>* lines) {
  Table table(1, {"HOP", "MESSAGES", "WAIT P50", "WAIT P99", "WAITING"});
  for (const json& link : all.at("links")) {
    const json& wait = link.at("wait");
    table.Add({absl::StrCat(Shown(link.at("from")), " > ", Shown(link.at("to"))),
               Rate(link.at("per_second")), Time(Of(wait, "p50_ns")), Time(Of(wait, "p99_ns")),
               Count(link.at("depth"))});
  }
  table.To(lines);
}

void AddProcesses(const json& all, std::vector<Line>* lines) {
  Table table(2, {"PROCESS", "STATE", "INCARNATION", "RESTARTS", "UP", "CPU", "CORE WAIT",
                  "WORST TURN", "MEMORY", "WAITING", "BUSY", "MESSAGES", "P50", "P99"});
  for (const json& worker : all.at("workers")) {
    const std::string state = Shown(worker.at("state"));
    const bool lanes = worker.at("lanes").get<uint64_t>() > 0;
    const json& work = worker.at("work");
    table.Add({Shown(worker.at("name")), state, Count(worker.at("incarnation")),
               Count(worker.at("restarts")), Age(worker.at("uptime_ns")),
               Share(worker.at("cpu_cores")), Share(worker.at("run_delay_cores")),
               Time(worker.at("worst_turn_ns")), Mebibytes(worker.at("resident_bytes")),
               lanes ? Count(worker.at("queue_depth")) : kUnknown, Share(worker.at("busy_share")),
               Rate(worker.at("per_second")), Time(Of(work, "p50_ns")), Time(Of(work, "p99_ns"))},
              state == "ready" || state == "spare" ? Style::kPlain
              : state == "died" || state == "down" ? Style::kBad
                                                   : Style::kWarn);
  }
  table.To(lines);
}

void AddModels(const json& all, std::vector<Line>* lines) {
  Table table(2, {"MODEL", "VERSION", "REQUESTS", "ERRORS", "P50", "P99", "BATCH P50", "BATCH P99",
                  "ROWS", "GOLDEN"});
  for (const json& model : all.at("models")) {
    const std::string name = Shown(model.at("model"));
    const json& ready = model.at("ready");
    const json& run = model.at("run");
    const json& rows = model.at("batch_rows");
    const bool wrong = ready.is_boolean() && !ready.get<bool>();
    const json& errors = model.at("error_share");
    table.Add({name.empty() ? "(others)" : name, Shown(model.at("version")),
               Rate(model.at("per_second")), Share(errors), Time(model.at("p50_ns")),
               Time(model.at("p99_ns")), Time(Of(run, "p50_ns")), Time(Of(run, "p99_ns")),
               rows.is_number() ? absl::StrFormat("%.1f", rows.get<double>()) : kUnknown,
               wrong ? "NOT RIGHT" : Age(model.at("golden_age_ns"))},
              wrong                                                ? Style::kBad
              : errors.is_number() && errors.get<double>() > 0.001 ? Style::kWarn
                                                                   : Style::kPlain);
  }
  if (!table.empty()) table.To(lines);
}

void AddShed(const json& all, std::vector<Line>* lines) {
  std::vector<std::string> parts;
  for (const json& shed : all.at("shed")) {
    if (shed.at("total").get<uint64_t>() == 0) continue;
    parts.push_back(absl::StrCat(Shown(shed.at("reason")), " ", Count(shed.at("total")), " (",
                                 Rate(shed.at("per_second")), ")"));
  }
  if (parts.empty()) return;
  lines->push_back({});
  lines->push_back({absl::StrCat("refused under load: ", absl::StrJoin(parts, ", "))});
}

}  // namespace

absl::StatusOr<std::string> RenderTop(const json& pipeline, const TopScreen& screen) {
  std::vector<Line> lines;
  try {
    AddHeadline(pipeline, &lines);
    AddPicture(pipeline, &lines);
    AddHops(pipeline, &lines);
    AddProcesses(pipeline, &lines);
    AddModels(pipeline, &lines);
    AddShed(pipeline, &lines);
  } catch (const json::exception& error) {
    return absl::InternalError(absl::StrCat("the observer's answer: ", error.what()));
  }
  if (screen.lines != 0 && lines.size() > screen.lines) lines.resize(screen.lines);
  std::string text;
  for (const Line& line : lines) {
    const bool coloured = screen.colour && line.style != Style::kPlain;
    absl::StrAppend(&text, coloured ? CodeOf(line.style) : "", Cut(line.text, screen.columns),
                    coloured ? "\033[0m" : "", "\n");
  }
  return text;
}

}  // namespace millrace
