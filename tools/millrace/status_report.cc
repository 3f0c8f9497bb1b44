#include "tools/millrace/status_report.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace millrace {
namespace {

using nlohmann::json;

// Columns as wide as their longest cell; the last one is not padded.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}

  void Add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  std::string Text() const {
    std::vector<size_t> widths(rows_[0].size());
    for (const auto& row : rows_) {
      for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
    }
    std::string text;
    for (const auto& row : rows_) {
      for (size_t c = 0; c + 1 < row.size(); ++c) {
        absl::StrAppend(&text, row[c], std::string(widths[c] + 2 - row[c].size(), ' '));
      }
      absl::StrAppend(&text, row.back(), "\n");
    }
    return text;
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

std::string Duration(int64_t ms) {
  if (ms < 1000) return absl::StrCat(ms, " ms");
  if (ms < 120'000) return absl::StrCat(ms / 1000, " s");
  if (ms < 7'200'000) return absl::StrCat(ms / 60'000, " min");
  return absl::StrCat(ms / 3'600'000, " h");
}

std::string Headline(const json& status) {
  const std::string phase = status.at("phase");
  const bool ready = status.at("ready");
  std::vector<std::string> listeners;
  for (const json& listener : status.at("listeners")) {
    listeners.push_back(absl::StrCat(listener.at("name").get<std::string>(), " ",
                                     listener.at("address").get<std::string>()));
  }
  return absl::StrFormat("%s, up %s; %s\n",
                         phase != "running" ? phase
                         : ready            ? "ready"
                                            : "not ready",
                         Duration(status.at("uptime_ms")), absl::StrJoin(listeners, ", "));
}

std::string Processes(const json& status) {
  Table table({"PROCESS", "PID", "INCARNATION", "STATE", "RESTARTS", "BEAT", "WAIT", "CPUS",
               "QUEUE", "ANSWERED", "UP"});
  for (const json& process : status.at("processes")) {
    const json& counters = process.at("counters");
    const bool answers = counters.contains("answered");
    table.Add(
        {process.at("name"), absl::StrCat(process.at("pid").get<int64_t>()),
         absl::StrCat(process.at("incarnation").get<int64_t>()), process.at("state"),
         absl::StrCat(process.at("restarts").get<int64_t>()), Duration(process.at("beat_age_ms")),
         process.at("wait").is_null() ? "-" : process.at("wait").get<std::string>(),
         process.at("cpus"), answers ? absl::StrCat(process.at("queue_depth").get<int64_t>()) : "-",
         answers ? absl::StrCat(counters.at("answered").get<int64_t>()) : "-",
         Duration(process.at("uptime_ms"))});
  }
  std::string text = table.Text();
  for (const json& waiting : status.at("waiting")) {
    absl::StrAppend(&text, waiting.at("name").get<std::string>(), " is down, starts in ",
                    Duration(waiting.at("starts_in_ms")), "\n");
  }
  return text;
}

std::string Requests(const json& status) {
  const std::vector<std::string> names = {"in_flight", "answered", "failed",
                                          "refused",   "replayed", "poisoned"};
  std::vector<std::string> parts;
  for (const std::string& name : names) {
    int64_t sum = 0;
    for (const json& process : status.at("processes")) {
      if (process.at("stage") == "ingress") sum += process.at("counters").value(name, int64_t{0});
    }
    parts.push_back(absl::StrCat(name == "in_flight" ? "in flight" : name, " ", sum));
  }
  std::string text = absl::StrCat("requests: ", absl::StrJoin(parts, ", "), "\n");
  absl::StrAppend(&text, "deaths ", status.at("deaths").get<int64_t>(), ", hangs ",
                  status.at("hangs").get<int64_t>());
  const json& foreign = status.at("foreign_cores");
  if (foreign.is_number()) {
    absl::StrAppendFormat(&text, "; other programs keep %.1f cores busy", foreign.get<double>());
  }
  const json& reroute = status.at("last_reroute_us");
  if (reroute.is_number()) {
    absl::StrAppend(&text, "; the last death was routed around after ", reroute.get<int64_t>(),
                    " us");
  }
  return text + "\n";
}

// The model's last right golden answer, and what went wrong last.
std::string Golden(const json& golden) {
  const json& age = golden.at("age_ms");
  const json& failure = golden.at("last_failure");
  std::string text = golden.at("ready").get<bool>() ? "ready" : "NOT READY";
  if (age.is_number()) absl::StrAppend(&text, ", right ", Duration(age), " ago");
  if (failure.is_string()) {
    absl::StrAppend(&text, "; ", Duration(golden.at("last_failure_age_ms")),
                    " ago: ", failure.get<std::string>());
  }
  return text;
}

// Breakers that are not closed; nothing where all are, or of a server that has none.
std::string Breakers(const json& status) {
  std::string text;
  for (const json& breaker : status.value("breakers", json::array())) {
    absl::StrAppend(&text, "BREAKER: model ", breaker.at("model").get<std::string>(), " version ",
                    breaker.at("version").get<std::string>(), " is ",
                    breaker.at("state").get<std::string>(), " after ",
                    breaker.at("deaths").get<int64_t>(), " deaths\n");
  }
  for (const json& breaker : status.value("stage_breakers", json::array())) {
    absl::StrAppend(&text, "BREAKER: stage ", breaker.at("stage").get<std::string>(), " is ",
                    breaker.at("state").get<std::string>(), " after ",
                    breaker.at("deaths").get<int64_t>(), " deaths\n");
  }
  return text;
}

std::string Models(const json& catalog) {
  Table table({"MODEL", "VERSION", "PLATFORM", "FEATURE VIEW", "GOLDEN REQUEST"});
  for (const json& model : catalog.at("models")) {
    const std::string view = model.at("view");
    table.Add({model.at("name"), model.at("version"), model.at("platform"),
               view.empty() ? "-" : view,
               model.contains("golden") ? Golden(model.at("golden")) : "-"});
  }
  std::string text = table.Text();
  for (const json& model : catalog.at("failed")) {
    const std::string version = model.at("version");
    absl::StrAppend(&text, "NOT SERVED: ", model.at("name").get<std::string>(),
                    version.empty() ? "" : " version ", version, ": ",
                    model.at("reason").get<std::string>(), "\n");
  }
  for (const json& model : catalog.value("evicted", json::array())) {
    absl::StrAppend(&text, "EVICTED: ", model.at("name").get<std::string>(), " version ",
                    model.at("version").get<std::string>(),
                    ": was idle and made room; `millrace model load` takes it in again\n");
  }
  const json memory = catalog.value("memory", json::object());
  if (memory.value("budget_bytes", uint64_t{0}) > 0) {
    absl::StrAppendFormat(
        &text, "Models take %.2f of %.2f MB in each execution worker\n",
        static_cast<double>(memory.at("bytes").get<uint64_t>()) / (1 << 20),
        static_cast<double>(memory.at("budget_bytes").get<uint64_t>()) / (1 << 20));
  }
  return text;
}

// "0.9 us", "31 us", "4.2 ms".
std::string ShortTime(int64_t ns) {
  const double us = static_cast<double>(ns) / 1000;
  if (us < 9.95) return absl::StrFormat("%.1f us", us);
  if (us < 9950) return absl::StrFormat("%.0f us", us);
  return absl::StrFormat("%.1f ms", us / 1000);
}

// What each kernel took for a bucket of rows; `*` stands at the one that is used, `~` at what was
// not run but reckoned from the bucket before.
std::string Buckets(const json& kernel) {
  const uint64_t from = kernel.at("device_from_rows");
  std::vector<std::string> parts;
  uint64_t above = 0;  // the bucket holds more rows than these
  for (const json& bucket : kernel.at("buckets")) {
    const bool device = from != 0 && above + 1 >= from;
    above = bucket.at("rows");
    parts.push_back(absl::StrCat(above, ": cpu ", bucket.at("cpu_estimated").get<bool>() ? "~" : "",
                                 ShortTime(bucket.at("cpu_ns")), device ? "" : " *", ", cuda ",
                                 bucket.at("device_estimated").get<bool>() ? "~" : "",
                                 ShortTime(bucket.at("device_ns")), device ? " *" : ""));
  }
  return absl::StrCat("rows ", absl::StrJoin(parts, " | "));
}

std::string Choice(const json& kernel, const std::string& cpu) {
  const std::string why_not = kernel.at("why_not");
  if (!why_not.empty()) return absl::StrCat(cpu, "; ", why_not);
  const uint64_t from = kernel.at("device_from_rows");
  const bool measured = !kernel.at("buckets").empty();
  if (measured) return Buckets(kernel);
  if (from == 0) return cpu;
  return absl::StrCat("cuda from ", from, " rows on, as configured; ", cpu);
}

// Where each execution worker runs each model, and why.
std::string Kernels(const json& status) {
  std::string text;
  for (const json& process : status.at("processes")) {
    if (process.at("stage") != "execution" || process.at("device").is_null()) continue;
    const json& device = process.at("device");
    const std::string cpu = device.at("cpu"), name = device.at("device");
    absl::StrAppend(
        &text, process.at("name").get<std::string>(), ": ", cpu, "; ",
        name.empty() ? device.at("why_not").get<std::string>() : absl::StrCat("cuda ", name), "\n");
    const json& counters = process.at("counters");
    if (!name.empty()) {
      absl::StrAppend(
          &text, "  batches on the device ", counters.value("device_batches", int64_t{0}),
          "; out of device memory and halved ", counters.value("device_halved", int64_t{0}),
          "; ended on the CPU ", counters.value("device_fell_back", int64_t{0}), "\n");
    }
    for (const json& kernel : process.at("kernels")) {
      absl::StrAppend(&text, "  ", kernel.at("model").get<std::string>(), " ",
                      kernel.at("version").get<std::string>(), ": ", Choice(kernel, cpu), "\n");
    }
  }
  return text.empty() ? text : absl::StrCat("\n", text);
}

}  // namespace

absl::StatusOr<std::string> RenderStatus(const json& status) {
  try {
    return absl::StrCat(Headline(status), "\n", Processes(status), "\n", Requests(status),
                        Breakers(status), "\n", Models(status.at("catalog")), Kernels(status));
  } catch (const json::exception& error) {
    return absl::InternalError(absl::StrCat("the server's status: ", error.what()));
  }
}

}  // namespace millrace
