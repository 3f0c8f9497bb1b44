#include "tools/millrace/find_observer.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int64_t kAnswerMs = 5'000;

}  // namespace

void AddObserverFlags(CLI::App* command, ObserverOptions* options) {
  command->add_option("--admin-socket", options->socket, "The server's admin socket")
      ->capture_default_str();
  command->add_option("--address", options->address,
                      "Where the observer serves, instead of asking the admin socket");
}

absl::StatusOr<std::string> FindObserver(const ObserverOptions& options) {
  if (!options.address.empty()) return options.address;
  const absl::StatusOr<json> status = AskAdmin(options.socket, {{"verb", "status"}}, kAnswerMs);
  if (!status.ok()) return status.status();
  for (const json& listener : status->value("listeners", json::array())) {
    const std::string address = listener.value("address", "");
    if (listener.value("name", "") == "metrics" && !address.empty()) return address;
  }
  return absl::FailedPreconditionError(
      "the server shows no metrics: observer.metrics is empty, or its address is taken");
}

}  // namespace millrace
