#include "services/registry/rollout/rollout_desk.h"

#include <stdio.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/log.h"
#include "services/registry/text.h"
#include "services/registry/write_file.h"

namespace millrace {

RolloutDesk::RolloutDesk(std::string file, RoutesDesk* routes, WatchFn watch)
    : file_(std::move(file)), routes_(routes), watch_(std::move(watch)) {}

void RolloutDesk::Stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  if (ticker_.joinable()) ticker_.join();
}

void RolloutDesk::Start() {
  std::lock_guard<std::mutex> lock(mutex_);
  std::error_code none;
  if (std::filesystem::exists(file_, none)) {
    std::ifstream in(file_);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const absl::Status resumed = controller_.Resume(text);
    if (!resumed.ok()) {
      const std::string aside = file_ + ".damaged";
      rename(file_.c_str(), aside.c_str());
      Log(LogLevel::kError, "rollouts_refused",
          {{"why", Printable({resumed.message().data(), resumed.message().size()})},
           {"kept_as", aside}});
    }
  }
  ticker_ = std::thread([this] { TickAlong(); });
}

void RolloutDesk::TickAlong() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopped_.wait_for(lock, std::chrono::seconds(1), [this] { return stop_; })) {
    controller_.Tick();
  }
}

RouteOutcome RolloutDesk::Command(const std::string& command_json, const std::string& who) {
  std::lock_guard<std::mutex> lock(mutex_);
  const uint64_t before = routes_->routes()->generation();
  const absl::StatusOr<std::string> reply = controller_.Command(command_json, who);
  RouteOutcome outcome;
  outcome.status = reply.status();
  if (!reply.ok()) return outcome;
  outcome.reply_json = *reply;
  const uint64_t after = routes_->routes()->generation();
  if (after != before) outcome.generation = after;
  return outcome;
}

void RolloutDesk::OnStatistics(const VersionStatistics& statistics) {
  std::lock_guard<std::mutex> lock(mutex_);
  controller_.OnStatistics(statistics);
}

void RolloutDesk::WatchAgain() {
  std::lock_guard<std::mutex> lock(mutex_);
  controller_.WatchAgain();
}

int64_t RolloutDesk::NowNs() { return MonotonicNanos(); }

int64_t RolloutDesk::WallMs() { return absl::ToUnixMillis(absl::Now()); }

std::optional<NamedRoute> RolloutDesk::RouteNow(const std::string& name) {
  for (const NamedRoute& route : routes_->routes()->routes()) {
    if (route.name() == name) return route;
  }
  return std::nullopt;
}

absl::Status RolloutDesk::SetRoute(const std::string& name, const std::optional<NamedRoute>& route,
                                   const std::string& who, const std::string& why) {
  return routes_->Replace(name, route, who, why).status;
}

bool RolloutDesk::Serves(const std::string& model, const std::string& version) {
  for (const Model& served : routes_->catalog()->models()) {
    if (served.name() == model && served.version() == version) return true;
  }
  return false;
}

std::string RolloutDesk::LatestOf(const std::string& model) {
  for (const Model& served : routes_->catalog()->models()) {
    if (served.name() == model && served.latest()) return served.version();
  }
  return "";
}

absl::Status RolloutDesk::Save(const std::string& text) {
  return WriteWholeFile(file_, text, 0644, /*may_replace=*/true);
}

bool IsRolloutCommand(const std::string& command_json) {
  const nlohmann::json command = nlohmann::json::parse(command_json, nullptr, false);
  return command.is_object() && command.value("verb", nlohmann::json()) == "rollout";
}

std::string RolloutsPath(const std::string& routes_file) {
  std::filesystem::path path(routes_file);
  return path.replace_extension(".rollouts.json").string();
}

}  // namespace millrace
