// `millrace upgrade`: another build takes over from the one that serves.
#include <poll.h>

#include <filesystem>
#include <iostream>
#include <memory>

#include "common/clock.h"
#include "tools/millrace/admin_client.h"
#include "tools/millrace/commands.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int64_t kAnswerMs = 5'000, kPauseMs = 100;
constexpr int64_t kDrainMs = 120'000;  // beyond the limit to get ready

struct UpgradeOptions {
  std::string socket = DefaultAdminSocket();
  std::string path;
  double timeout_s = 120;
};

// The supervisor that was asked has died: the keeper goes on with the upgrade or gives it up.
int WaitForOutcome(const UpgradeOptions& options, int64_t until_ns) {
  while (MonotonicNanos() < until_ns) {
    const absl::StatusOr<json> status = AskAdmin(options.socket, {{"verb", "status"}}, kAnswerMs);
    const json upgrade = status.ok() ? status->value("upgrade", json()) : json();
    if (upgrade.is_object() && upgrade.value("state", "") == "none") {
      const std::string build = status->at("build").value("path", "");
      if (build.rfind(options.path, 0) == 0) return kExitGood;
      const bool told = upgrade["last_failure"].is_string();
      std::cerr << "millrace: "
                << (told ? upgrade["last_failure"].get<std::string>()
                         : "the upgrade was cut off, and nothing was changed")
                << "\n";
      return kExitNo;
    }
    poll(nullptr, 0, kPauseMs);
  }
  return Fail(absl::DeadlineExceededError("the upgrade has not ended; see `millrace status`"));
}

int Upgrade(UpgradeOptions options) {
  std::error_code error;
  options.path = std::filesystem::canonical(options.path, error).string();
  if (error) return Fail(absl::NotFoundError("PATH: " + error.message()));
  const auto ready_ms = static_cast<int64_t>(options.timeout_s * 1000);
  const int64_t until_ns = MonotonicNanos() + (ready_ms + kDrainMs) * kNanosPerMilli;
  const absl::StatusOr<json> answer = AskAdmin(
      options.socket, {{"verb", "upgrade"}, {"path", options.path}, {"ready_within_ms", ready_ms}},
      ready_ms + kDrainMs);
  if (answer.ok()) return kExitGood;
  if (answer.status().message() == "the server closed the admin socket") {
    return WaitForOutcome(options, until_ns);
  }
  const int code = Fail(answer.status());
  return absl::IsFailedPrecondition(answer.status()) ? kExitNo : code;
}

}  // namespace

void AddUpgrade(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<UpgradeOptions>();
  CLI::App* upgrade = app->add_subcommand(
      "upgrade",
      "Let another build take over without a gap; ends when the old one has ended, with 1 if "
      "nothing was changed");
  upgrade->add_option("path", options->path, "The build: an installed tree, or its programs")
      ->required();
  upgrade->add_option("--admin-socket", options->socket, "The server's admin socket")
      ->capture_default_str();
  upgrade
      ->add_option("--timeout", options->timeout_s, "Seconds that the new build has to get ready")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  upgrade->callback([=] { *exit_code = Upgrade(*options); });
}

}  // namespace millrace
