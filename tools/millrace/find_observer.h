// Where the observer of a server serves.
//
// Purpose: what `top` and `logs` begin with. Who may call: one thread. Ownership: values.
// What fails: FindObserver, where the server is not there (as AskAdmin) or shows no metrics
//   (FAILED_PRECONDITION).
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "tools/millrace/admin_client.h"
#include "tools/millrace/commands.h"

namespace millrace {

struct ObserverOptions {
  std::string socket = DefaultAdminSocket();
  std::string address;  // instead of asking the socket
};

// --admin-socket and --address.
void AddObserverFlags(CLI::App* command, ObserverOptions* options);

absl::StatusOr<std::string> FindObserver(const ObserverOptions& options);

}  // namespace millrace
