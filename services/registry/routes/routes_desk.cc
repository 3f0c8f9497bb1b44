#include "services/registry/routes/routes_desk.h"

#include <algorithm>
#include <future>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/log.h"
#include "services/registry/routes/routes_check.h"
#include "services/registry/routes/routes_file.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

using Json = nlohmann::ordered_json;
using Action = RouteCommand::Action;

constexpr size_t kHistoryShown = 100;
constexpr size_t kMostShownBytes = 96 << 10;  // a message has room for

bool Same(const std::optional<NamedRoute>& a, const std::optional<NamedRoute>& b) {
  if (a.has_value() != b.has_value()) return false;
  return !a.has_value() || a->SerializeAsString() == b->SerializeAsString();
}

Routes With(const Routes& routes, const std::string& name, const std::optional<NamedRoute>& after) {
  Routes changed;
  bool done = false;
  for (const NamedRoute& route : routes.routes()) {
    if (route.name() != name) {
      *changed.add_routes() = route;
    } else if (after.has_value()) {
      *changed.add_routes() = *after;
      done = true;
    } else {
      done = true;
    }
  }
  if (!done && after.has_value()) *changed.add_routes() = *after;
  return changed;
}

// Whether every version that `route` names stands in `before` too, as a target or in the shadow.
bool NamesOnly(const NamedRoute& route, const std::optional<NamedRoute>& before) {
  using Names = std::set<std::pair<std::string, std::string>>;
  const auto names = [](const NamedRoute& of) {
    Names all;
    for (const RouteRule& rule : of.rules()) {
      for (const RouteTarget& target : rule.targets())
        all.insert({target.model(), target.version()});
      for (const ShadowTarget& target : rule.shadows()) {
        all.insert({target.model(), target.version()});
      }
      for (const Fallback& fallback : rule.fallbacks()) {
        if (!fallback.has_target()) continue;
        all.insert({fallback.target().model(), fallback.target().version()});
      }
    }
    return all;
  };
  if (!before.has_value()) return false;
  const Names now = names(route), then = names(*before);
  return std::includes(then.begin(), then.end(), now.begin(), now.end());
}

std::string Sentence(const std::vector<std::string>& faults) { return absl::StrJoin(faults, "; "); }

std::string Text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json ChangeJson(const RouteChange& change) {
  return Json::parse(ChangeLine(change), nullptr, false);
}

}  // namespace

std::string JournalPath(const std::string& file) {
  constexpr std::string_view kYaml = ".yaml";
  std::string stem = file;
  if (stem.size() > kYaml.size() && std::string_view(stem).substr(stem.size() - 5) == kYaml) {
    stem.resize(stem.size() - kYaml.size());
  }
  return stem + ".journal";
}

RoutesDesk::RoutesDesk(std::string file, Host host)
    : file_(std::move(file)),
      host_(std::move(host)),
      journal_(JournalPath(file_)),
      catalog_(std::make_shared<const Catalog>()),
      routes_(std::make_shared<const Routes>()),
      keeper_([this] { KeepAll(); }) {}

RoutesDesk::~RoutesDesk() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    end_ = true;
  }
  wake_.notify_one();
  keeper_.join();
}

std::shared_ptr<const Routes> RoutesDesk::routes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return routes_;
}

std::vector<NamedRoute> RoutesDesk::RollbackTargets() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<NamedRoute> targets;
  for (const NamedRoute& route : routes_->routes()) {
    const std::optional<RouteChange> change = journal_.ToRollBack(route.name());
    if (change.has_value() && change->before.has_value()) targets.push_back(*change->before);
  }
  return targets;
}

std::shared_ptr<const Catalog> RoutesDesk::catalog() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return catalog_;
}

void RoutesDesk::Start(std::shared_ptr<const Catalog> catalog) {
  std::lock_guard<std::mutex> lock(mutex_);
  catalog_ = std::move(catalog);
  journal_.Read();
  if (journal_.skipped() > 0) {
    Log(LogLevel::kWarning, "routes_journal", {{"lines_skipped", journal_.skipped()}});
  }
  // What was good last, until the file has been read.
  Routes good = journal_.Fold();
  good.set_generation(journal_.changes().empty() ? 1 : journal_.changes().back().generation);
  routes_ = std::make_shared<const Routes>(std::move(good));
  TakeFile(/*first=*/true);
  host_.publish(*routes_);
}

void RoutesDesk::SetCatalog(std::shared_ptr<const Catalog> catalog) {
  std::lock_guard<std::mutex> lock(mutex_);
  catalog_ = std::move(catalog);
  const RouteFaults faults = CheckRoutes(*routes_, *catalog_);
  for (const std::string& fault : faults.missing) {
    Log(LogLevel::kWarning, "route_without_version", {{"why", fault}});
  }
}

void RoutesDesk::Reread() {
  std::unique_lock<std::mutex> lock(mutex_);
  // The file and the journal are one thread's at a time.
  idle_.wait(lock, [this] { return !keeping_ && to_keep_.empty(); });
  const uint64_t before = routes_->generation();
  TakeFile(/*first=*/false);
  if (routes_->generation() != before) host_.publish(*routes_);
}

void RoutesDesk::SayAgain() {
  std::lock_guard<std::mutex> lock(mutex_);
  host_.publish(*routes_);
}

void RoutesDesk::Publish(Routes routes) {
  routes.set_generation(routes_->generation() + 1);
  routes_ = std::make_shared<const Routes>(std::move(routes));
  host_.publish(*routes_);
}

RouteOutcome RoutesDesk::Change(const std::string& command_json, const std::string& who) {
  std::promise<RouteOutcome> promise;
  ChangeThen(command_json, who, [&](const RouteOutcome& outcome) { promise.set_value(outcome); });
  return promise.get_future().get();
}

void RoutesDesk::ChangeThen(const std::string& command_json, const std::string& who, Done done) {
  const absl::StatusOr<RouteCommand> command = ParseRouteCommand(command_json);
  std::optional<RouteOutcome> outcome;
  if (!command.ok()) {
    outcome = RouteOutcome{command.status(), 0, "", ""};
  } else {
    std::lock_guard<std::mutex> lock(mutex_);
    if (absl::Status known = command->changes() ? absl::OkStatus() : CheckKnown(command->name);
        !known.ok()) {
      outcome = RouteOutcome{std::move(known), 0, "", ""};
    } else if (command->action == Action::kList) {
      outcome = RouteOutcome{absl::OkStatus(), 0, "", List(command->name)};
    } else if (command->action == Action::kHistory) {
      outcome = RouteOutcome{absl::OkStatus(), 0, "", History(command->name)};
    } else {
      outcome = DoChange(*command, who, &done);
    }
  }
  if (outcome.has_value()) done(*outcome);
}

std::optional<RouteOutcome> RoutesDesk::DoChange(const RouteCommand& command,
                                                 const std::string& who, Done* done) {
  const std::optional<NamedRoute> before = Find(command.name);
  const absl::StatusOr<std::optional<NamedRoute>> after = After(command, before);
  if (!after.ok()) return RouteOutcome{after.status(), 0, "", ""};
  const bool rollback = command.action == Action::kRollback;
  if (absl::Status good = CheckAfter(*after, rollback); !good.ok()) {
    return RouteOutcome{good, 0, "", ""};
  }
  if (!rollback) {
    const absl::Status may = read_only().MayChange(command.name, before, *after);
    if (!may.ok()) return RouteOutcome{may, 0, "", ""};
  }
  if (Same(before, *after) && !rollback) {
    return RouteOutcome{absl::OkStatus(), 0, "it is so already", List(command.name)};
  }
  Commit(
      {0, 0, Printable(who), command.why, ActionName(command.action), command.name, before, *after},
      std::move(*done));
  return std::nullopt;
}

RouteOutcome RoutesDesk::Replace(const std::string& name, const std::optional<NamedRoute>& route,
                                 const std::string& who, const std::string& why) {
  std::lock_guard<std::mutex> lock(mutex_);
  const std::optional<NamedRoute> before = Find(name);
  if (Same(before, route)) return {absl::OkStatus(), 0, "it is so already", ""};
  // The way back is never refused for what is missing.
  const bool fewer = !route.has_value() || NamesOnly(*route, before);
  if (absl::Status good = CheckAfter(route, fewer); !good.ok()) return {good, 0, "", ""};
  Commit({0, 0, Printable(who), why, "rollout", name, before, route}, [](const RouteOutcome&) {});
  return {absl::OkStatus(), routes_->generation(), "", ""};
}

// Published first, kept after.
void RoutesDesk::Commit(RouteChange change, Done done) {
  Publish(With(*routes_, change.name, change.after));
  change.generation = routes_->generation();
  change.wall_ms = host_.wall_ms();
  journal_.Note(change);
  to_keep_.push_back({std::move(change), std::move(done)});
  wake_.notify_one();
}

absl::StatusOr<std::optional<NamedRoute>> RoutesDesk::After(
    const RouteCommand& command, const std::optional<NamedRoute>& before) const {
  if (command.action != Action::kRollback) return ApplyCommand(command, before, *catalog_);
  const std::optional<RouteChange> last = journal_.ToRollBack(command.name);
  if (!last.has_value()) {
    return absl::FailedPreconditionError(absl::StrCat("route '", command.name,
                                                      "' was never changed, or every change of it "
                                                      "was rolled back: see route history"));
  }
  return last->before;
}

// A rollback is never refused for what is missing: then the next in the chain answers.
absl::Status RoutesDesk::CheckAfter(const std::optional<NamedRoute>& after, bool rollback) const {
  if (!after.has_value()) return absl::OkStatus();
  RouteFaults faults;
  // Not only of the catalog: a command may have made what no file could say.
  RoutesResult again;
  Routes alone;
  *alone.add_routes() = *after;
  again = ReadRoutes(WriteRoutes(alone));
  for (const ConfigFault& fault : again.faults) {
    faults.wrong.push_back(absl::StrCat(fault.field, " ", fault.message));
  }
  CheckRoute(*after, *catalog_, &faults);
  if (rollback) faults.missing.clear();
  if (faults.none()) return absl::OkStatus();
  for (std::string& fault : faults.missing) faults.wrong.push_back(std::move(fault));
  return absl::InvalidArgumentError(Sentence(faults.wrong));
}

ReadOnlyCheck RoutesDesk::read_only() const {
  return ReadOnlyCheck(*catalog_, host_.debt, host_.wall_ms() / 1000);
}

absl::Status RoutesDesk::MayGrow(const std::string& model, const std::string& version) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return read_only().MayGrow(model, version);
}

std::optional<NamedRoute> RoutesDesk::Find(const std::string& name) const {
  for (const NamedRoute& route : routes_->routes()) {
    if (route.name() == name) return route;
  }
  return std::nullopt;
}

absl::Status RoutesDesk::CheckKnown(const std::string& name) const {
  if (name.empty() || Find(name).has_value() || FindLatest(*catalog_, name) != nullptr) {
    return absl::OkStatus();
  }
  const bool was = std::any_of(journal_.changes().begin(), journal_.changes().end(),
                               [&](const RouteChange& change) { return change.name == name; });
  if (was) return absl::OkStatus();
  return absl::NotFoundError("no route and no model is called '" + name + "'");
}

std::string RoutesDesk::List(const std::string& name) const {
  Json list = {{"generation", routes_->generation()}, {"file", file_}};
  list["routes"] = Json::array();
  size_t bytes = 0, left_off = 0;
  for (const NamedRoute& route : routes_->routes()) {
    if (!name.empty() && route.name() != name) continue;
    Json one = Json::parse(RouteJson(route), nullptr, false);
    one["last"] = nullptr;
    for (auto change = journal_.changes().rbegin(); change != journal_.changes().rend(); ++change) {
      if (change->name != route.name()) continue;
      one["last"] = ChangeJson(*change);
      one["last"].erase("before");
      one["last"].erase("after");
      break;
    }
    RouteFaults faults;
    CheckRoute(route, *catalog_, &faults);
    one["missing"] = faults.missing;
    bytes += Text(one).size();
    if (bytes > kMostShownBytes) {
      ++left_off;
    } else {
      list["routes"].push_back(std::move(one));
    }
  }
  if (left_off > 0) list["left_off"] = left_off;
  list["file_faults"] = file_faults_;
  list["not_kept"] = not_kept_;
  return Text(list);
}

std::string RoutesDesk::History(const std::string& name) const {
  Json changes = Json::array();
  size_t bytes = 0;
  for (auto change = journal_.changes().rbegin();
       change != journal_.changes().rend() && changes.size() < kHistoryShown; ++change) {
    if (!name.empty() && change->name != name) continue;
    Json one = ChangeJson(*change);
    bytes += Text(one).size();
    if (bytes > kMostShownBytes) break;
    changes.push_back(std::move(one));
  }
  return Text({{"changes", std::move(changes)}});
}

}  // namespace millrace
