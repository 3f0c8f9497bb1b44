// Who may call which method: the gRPC half of the one table (the other: http/route.h).
//
// Purpose: a method's scope by its name. Who may call: any thread.
// Invariant: every method of the services that are served stands here once, and no other (a test
//   holds the table to their descriptors). What fails: a name that is not here ends the process.
#pragma once

#include <string_view>

#include "absl/types/span.h"
#include "services/ingress/access/scope.h"

namespace millrace {

struct MethodScope {
  std::string_view method;  // "ModelInfer"; no two services of ours have a method of one name but
                            // reflection's two versions
  Scope scope;
};

absl::Span<const MethodScope> MethodScopes();
Scope ScopeOfMethod(std::string_view method);

}  // namespace millrace
