#include "tools/millrace/route_report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace millrace {
namespace {

using nlohmann::json;

std::string Which(const json& target, const std::string& route) {
  const std::string model = target.at("model");
  const std::string version = absl::StrCat(target.at("version").get<int64_t>());
  return model == route ? version : absl::StrCat(model, "/", version);
}

std::string Condition(const json& rule) {
  std::string text;
  const auto add = [&](const std::string& what) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", what);
  };
  if (rule.contains("path")) add(rule.at("path").get<std::string>());
  for (const json& header : rule.value("headers", json::array())) {
    add(absl::StrCat(header.at("name").get<std::string>(), "=",
                     header.at("value").get<std::string>()));
  }
  for (const json& tenant : rule.value("tenants", json::array())) {
    add("tenant " + tenant.get<std::string>());
  }
  return text.empty() ? "all" : text;
}

void RenderRule(const json& rule, const std::string& route, std::string* out) {
  absl::StrAppend(out, "    ", Condition(rule), ":");
  if (!rule.contains("to")) absl::StrAppend(out, " the latest");
  for (const json& target : rule.value("to", json::array())) {
    absl::StrAppend(out, " ", Which(target, route),
                    absl::StrFormat(" (%g %%)", target.at("weight").get<double>()));
  }
  for (const json& shadow : rule.value("shadows", json::array())) {
    absl::StrAppend(out, "; shadow ", Which(shadow, route),
                    absl::StrFormat(" (%g %%)", shadow.at("share").get<double>()));
  }
  for (const json& fallback : rule.value("fallbacks", json::array())) {
    absl::StrAppend(out, "; else ",
                    fallback.contains("constant") ? "a constant" : Which(fallback, route));
  }
  if (rule.contains("label")) {
    absl::StrAppend(out, "  # ", rule.at("label").get<std::string>());
  }
  absl::StrAppend(out, "\n");
}

std::string Last(const json& last) {
  const std::string why = last.at("why");
  return absl::StrCat(last.at("at").get<std::string>(), " ", last.at("action").get<std::string>(),
                      " by ", last.at("who").get<std::string>(), why.empty() ? "" : ": ", why);
}

void RenderRoute(const json& route, std::string* out) {
  const std::string name = route.at("name");
  absl::StrAppend(out, "  ", name, "\n");
  for (const json& rule : route.at("rules")) RenderRule(rule, name, out);
  if (route.contains("last") && route.at("last").is_object()) {
    absl::StrAppend(out, "    last: ", Last(route.at("last")), "\n");
  }
  for (const json& missing : route.value("missing", json::array())) {
    absl::StrAppend(out, "    NOT LOADED: ", missing.get<std::string>(), "\n");
  }
}

void RenderChanges(const json& changes, std::string* out) {
  for (const json& change : changes) {
    absl::StrAppend(out, "generation ", change.at("generation").get<int64_t>(), "  ",
                    change.at("name").get<std::string>(), "  ", Last(change), "\n");
    for (const char* side : {"before", "after"}) {
      absl::StrAppend(out, "  ", side, ":\n");
      if (!change.at(side).is_object()) {
        absl::StrAppend(out, "    no route\n");
        continue;
      }
      for (const json& rule : change.at(side).at("rules")) {
        RenderRule(rule, change.at("name"), out);
      }
    }
  }
}

}  // namespace

absl::StatusOr<std::string> RenderRoutes(const json& answer, const std::string& name) {
  std::string out;
  try {
    if (answer.contains("changes")) {
      RenderChanges(answer.at("changes"), &out);
      return out;
    }
    absl::StrAppend(&out, "routes, generation ", answer.at("generation").get<int64_t>(), "\n");
    for (const json& route : answer.at("routes")) {
      if (name.empty() || route.at("name") == name) RenderRoute(route, &out);
    }
    for (const json& fault : answer.value("file_faults", json::array())) {
      absl::StrAppend(&out, "REFUSED: ", fault.get<std::string>(), "\n");
    }
    const std::string not_kept = answer.value("not_kept", "");
    if (!not_kept.empty()) absl::StrAppend(&out, "NOT KEPT: ", not_kept, "\n");
  } catch (const json::exception& error) {
    return absl::InternalError(absl::StrCat("the server's answer: ", error.what()));
  }
  return out;
}

}  // namespace millrace
