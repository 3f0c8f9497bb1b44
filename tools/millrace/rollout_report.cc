#include "tools/millrace/rollout_report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace millrace {
namespace {

using nlohmann::json;

std::string Text(const json& value) { return value.is_string() ? value.get<std::string>() : ""; }

bool HasEnded(const std::string& phase) {
  return phase == "promoted" || phase == "rolled_back" || phase == "aborted" ||
         phase == "overruled";
}

std::string Line(const json& one) {
  const std::string phase = Text(one.at("phase"));
  std::string line =
      absl::StrFormat("rollout of %s: version %s to %s, %s, step %d of %d, %.4g %% of the requests",
                      Text(one.at("name")), Text(one.at("from")), Text(one.at("to")), phase,
                      one.at("step").get<int64_t>() + 1, one.at("of_steps").get<int64_t>(),
                      one.at("share").get<double>());
  const std::string waits_for = Text(one.value("waits_for", json()));
  if (!waits_for.empty()) absl::StrAppend(&line, "; waits for ", waits_for);
  return line + "\n";
}

std::string Counts(const json& seen) {
  std::string text;
  for (const char* who : {"baseline", "candidate"}) {
    const json& counts = seen.at(who);
    absl::StrAppendFormat(&text, "  %-10s %d requests, %d errors, %d of them crashes\n", who,
                          counts.at("requests").get<int64_t>(), counts.at("errors").get<int64_t>(),
                          counts.at("internal").get<int64_t>());
  }
  absl::StrAppendFormat(
      &text, "  compared   %d copies in this step; %d of %d rows changed so far\n",
      seen.at("compared_copies").get<int64_t>(), seen.at("changed_rows").get<int64_t>(),
      seen.at("compared_rows").get<int64_t>());
  return text;
}

}  // namespace

absl::StatusOr<std::string> RenderRollouts(const json& reply, bool running) {
  try {
    std::string text;
    for (const json& one : reply.at("rollouts")) {
      if (running && HasEnded(Text(one.at("phase")))) continue;
      text += Line(one);
      if (running) continue;
      if (!Text(one.at("reason")).empty()) {
        absl::StrAppend(&text, "  because    ", Text(one.at("reason")), "\n");
      }
      if (one.contains("seen")) text += Counts(one["seen"]);
      for (const json& event : one.at("journal")) {
        const absl::Time time = absl::FromUnixMillis(event.at("ms").get<int64_t>());
        absl::StrAppend(&text, "  ",
                        absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone()), "  ",
                        Text(event.at("who")), ": ", Text(event.at("what")), "\n");
      }
    }
    return text;
  } catch (const json::exception& fault) {
    return absl::InternalError(absl::StrCat("the answer has another form: ", fault.what()));
  }
}

}  // namespace millrace
