// The registry's side of the control socket.
//
// Purpose: answer Configure and Reload with a catalog, ChangeModel with one and ModelChanged, Drain
//   and Stop at once.
// Who may call: main(), one thread. Ownership: owns the socket and, through the builder, the plans.
// Invariants: 1. every catalog that is sent is complete and sealed. 2. A repository that cannot be
//   read ends the process at the first build and is only logged at a later one, when the last
//   catalog goes on being served.
// What fails: Run returns an exit code (README.md).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/config.h"
#include "ipc/control.pb.h"
#include "ipc/control_channel.h"
#include "services/registry/catalog_builder.h"
#include "services/registry/watch/repository_watch.h"

namespace millrace {

// Beside those of services/runtime/process.h.
enum RegistryExitCode : int {
  kExitConfigurationRefused = 65,
  kExitRepositoryUnreadable = 67,
  kExitCompilerMissing = 70,
};

class RegistryService {
 public:
  RegistryService(Fd socket, std::string compiler)
      : channel_(std::move(socket)), compiler_(std::move(compiler)) {}

  // Until Stop, or until the supervisor is gone.
  int Run();

 private:
  // A value: exit with it.
  std::optional<int> Handle(const ToProcess& message);
  std::optional<int> OnConfigure(const Configure& configure);
  std::optional<int> BuildAndPublish();
  std::optional<int> OnChangeModel(const ChangeModel& change);
  // Builds what the watch says is due.
  std::optional<int> FollowRepository();
  absl::Status Publish(const BuiltCatalog& built);
  // Waits for a supervisor that does not read; false once it is gone.
  bool Send(const FromProcess& message, absl::Span<const int> fds = {});

  ControlChannel channel_;
  std::string compiler_;
  Config config_;
  std::unique_ptr<CatalogBuilder> builder_;
  std::unique_ptr<RepositoryWatch> watch_;
  bool published_ = false;
  const BuiltCatalog* newest_ = nullptr;  // the builder's, published or about to be
};

}  // namespace millrace
