#include "services/registry/routes/routes_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "ipc/fd.h"
#include "services/registry/routes/routes_file.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostBytes = 64 << 20;

std::string Utc(int64_t wall_ms) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromUnixMillis(wall_ms),
                          absl::UTCTimeZone());
}

Json RouteOrNull(const std::optional<NamedRoute>& route) {
  return route.has_value() ? Json::parse(RouteJson(*route), nullptr, false) : Json(nullptr);
}

std::string TextAt(const Json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

// As RouteJson writes it. False: it is not one.
bool TakeRoute(const Json& json, const std::string& name, std::optional<NamedRoute>* route) {
  if (json.is_null()) return true;
  if (!json.is_object() || !json.contains("rules") || !json["rules"].is_array()) return false;
  NamedRoute& taken = route->emplace();
  taken.set_name(name);
  for (const Json& rule : json["rules"]) {
    RuleResult read = ReadRule(rule.dump(), name);
    if (!read.faults.empty()) return false;
    *taken.add_rules() = std::move(read.rule);
  }
  return true;
}

std::optional<RouteChange> ChangeOf(const std::string& line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("before") || !json.contains("after")) {
    return std::nullopt;
  }
  const auto generation = json.find("generation");
  absl::Time at;
  std::string error;
  RouteChange change;
  change.name = TextAt(json, "name");
  if (generation == json.end() || !generation->is_number_unsigned() || change.name.empty() ||
      !absl::ParseTime(absl::RFC3339_full, TextAt(json, "at"), &at, &error) ||
      !TakeRoute(json["before"], change.name, &change.before) ||
      !TakeRoute(json["after"], change.name, &change.after)) {
    return std::nullopt;
  }
  change.generation = *generation;
  change.wall_ms = absl::ToUnixMillis(at);
  change.who = TextAt(json, "who");
  change.why = TextAt(json, "why");
  change.action = TextAt(json, "action");
  return change;
}

}  // namespace

std::string ChangeLine(const RouteChange& change) {
  const Json json = {{"generation", change.generation},
                     {"at", Utc(change.wall_ms)},
                     {"who", change.who},
                     {"why", change.why},
                     {"action", change.action},
                     {"name", change.name},
                     {"before", RouteOrNull(change.before)},
                     {"after", RouteOrNull(change.after)}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void RoutesJournal::Read() {
  changes_.clear();
  skipped_ = 0;
  std::ifstream file(path_, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  std::string all = text.str();
  ends_whole_ = all.empty() || all.back() == '\n';
  if (all.size() > kMostBytes) all.erase(0, all.size() - kMostBytes);
  std::stringstream lines(all);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    if (std::optional<RouteChange> change = ChangeOf(line)) {
      changes_.push_back(std::move(*change));
    } else {
      ++skipped_;
    }
  }
}

absl::Status RoutesJournal::Write(const RouteChange& change) {
  const std::string line = absl::StrCat(ends_whole_ ? "" : "\n", ChangeLine(change), "\n");
  const Fd file(open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
  ssize_t written = file.valid() ? write(file.get(), line.data(), line.size()) : -1;
  if (written == static_cast<ssize_t>(line.size()) && fdatasync(file.get()) == 0) {
    ends_whole_ = true;
    return absl::OkStatus();
  }
  const int error = written >= 0 && written < static_cast<ssize_t>(line.size()) ? ENOSPC : errno;
  if (written > 0) ends_whole_ = false;
  return absl::UnavailableError(absl::StrCat(path_, ": ", strerror(error)));
}

Routes RoutesJournal::Fold() const {
  std::map<std::string, NamedRoute> routes;
  for (const RouteChange& change : changes_) {
    if (change.after.has_value()) {
      routes[change.name] = *change.after;
    } else {
      routes.erase(change.name);
    }
  }
  Routes folded;
  for (const auto& [name, route] : routes) *folded.add_routes() = route;
  return folded;
}

std::optional<RouteChange> RoutesJournal::ToRollBack(const std::string& name) const {
  std::vector<const RouteChange*> open;  // not rolled back
  for (const RouteChange& change : changes_) {
    if (change.name != name) continue;
    if (change.action != "rollback") {
      open.push_back(&change);
    } else if (!open.empty()) {
      open.pop_back();
    }
  }
  if (open.empty()) return std::nullopt;
  return *open.back();
}

}  // namespace millrace
