// What `millrace route` asks for, done to one route.
//
// Purpose: from a command and a route to the route after it: pure, so that every command is tested
//   without files. Who may call: any thread.
// Invariants: 1. A command changes the route that it names and nothing else. 2. Canary and promote
//   work on the rule that takes every request (the last, without conditions), which they make where
//   there is none. 3. Who grows takes from the first target of the rule, so that with two targets a
//   client's key only ever moves to the one that grows.
// What fails: Parse and Apply, INVALID_ARGUMENT or NOT_FOUND with the field and a sentence.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "ipc/catalog.pb.h"
#include "ipc/routes.pb.h"

namespace millrace {

struct RouteCommand {
  enum class Action { kList, kHistory, kSet, kCanary, kPromote, kRollback, kShadow, kRemove };
  Action action = Action::kList;
  std::string name;
  std::string why;
  std::string version;  // of canary, promote, shadow; of promote empty: the last target
  std::string model;    // empty: the model that the route is named after or goes to
  uint32_t parts = 0;   // of canary, shadow
  std::string beside;   // of shadow
  RouteRule rule;       // of set

  bool changes() const { return action != Action::kList && action != Action::kHistory; }
};

absl::StatusOr<RouteCommand> ParseRouteCommand(const std::string& json);
// Whether both are for the same requests.
bool SameConditions(const RouteRule& a, const RouteRule& b);
const char* ActionName(RouteCommand::Action action);

// The route after the command; nothing: there is none any more. Of all but rollback, which is the
// desk's. `before` empty: there was none. The catalog says what the latest version is.
absl::StatusOr<std::optional<NamedRoute>> ApplyCommand(const RouteCommand& command,
                                                       const std::optional<NamedRoute>& before,
                                                       const Catalog& catalog);

}  // namespace millrace
