#include "services/registry/registry_service.h"

#include <poll.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/cpu_list.h"
#include "common/log.h"
#include "ipc/memfd.h"
#include "services/registry/needed_versions.h"
#include "services/registry/routes/for_clients.h"
#include "services/registry/text.h"
#include "services/runtime/background.h"
#include "services/runtime/log_ring.h"
#include "services/runtime/process.h"

namespace millrace {
namespace {

// For requests in flight to end, before a load that needs their memory is refused.
constexpr int64_t kSettleLimitMs = 10'000;
constexpr size_t kMostReplyBytes = 128 << 10;  // a message has at most 192 KiB

void LogStatus(LogLevel level, std::string_view event, const absl::Status& status) {
  Log(level, event, {{"reason", std::string(status.message())}});
}

int64_t CeilMillis(int64_t ns) { return (ns + kNanosPerMilli - 1) / kNanosPerMilli; }

// CPUs that are given to no stage; empty: there are none, or no stage has any to itself.
CpuList CpusOfNoStage(const Config& config) {
  CpuList cpus = AllowedCpus(0);
  bool given = false;
  for (const std::string* text : {&config.ingress_cpus, &config.features_cpus,
                                  &config.execution_cpus, &config.aggregation_cpus}) {
    const absl::StatusOr<CpuList> stage = ParseCpuList(*text);
    if (!stage.ok()) continue;  // was checked
    for (int cpu : *stage) given = std::erase(cpus, cpu) > 0 || given;
  }
  return given ? cpus : CpuList();
}

LoaderOptions OptionsOf(const Config& config, const std::string& compiler) {
  LoaderOptions options;
  options.compile.compiler = compiler;
  options.compile.max_memory_mb = config.compile_memory_mb;
  options.compile.timeout_ms = config.compile_timeout_ms;
  options.compile.cpus = CpusOfNoStage(config);
  options.limits.max_batch_rows = config.max_batch_rows;
  options.limits.max_request_bytes = config.max_request_bytes;
  options.manifest = ManifestOptionsOf(config);
  return options;
}

}  // namespace

int RegistryService::Run() {
  inbox_.Start([this](const ToProcess& message) { return HandleRoutes(message); });
  while (true) {
    if (const std::optional<int> code = Turn()) return *code;
  }
}

std::optional<int> RegistryService::Turn() {
  const int pace_ms = static_cast<int>(CeilMillis(pace_.WaitNs(MonotonicNanos())));
  const bool watches = watch_ != nullptr && pace_ms == 0;
  pollfd ready[2] = {{inbox_.fd(), POLLIN, 0}, {watches ? watch_->fd() : -1, POLLIN, 0}};
  int timeout_ms = watches ? watch_->TimeoutMs() : -1;
  if (pace_ms > 0 || !loads_.empty()) timeout_ms = pace_ms;
  poll(ready, 2, timeout_ms);
  if (pace_.WaitNs(MonotonicNanos()) == 0) {
    if (const std::optional<int> code = NextLoad()) return code;
  }
  if (pace_.WaitNs(MonotonicNanos()) == 0) {
    if (const std::optional<int> code = FollowRepository()) return code;
  }
  ToProcess message;
  std::vector<Fd> fds;  // the roster of Configure: a registry has no use for it
  const absl::StatusOr<bool> received = inbox_.Receive(&message, &fds);
  if (!received.ok()) {
    LogStatus(LogLevel::kError, "control_channel", received.status());
    return absl::IsUnavailable(received.status()) ? kExitOrphan : kExitProtocol;
  }
  if (!*received) return std::nullopt;
  if (message.has_reload() || message.has_change_model()) {
    loads_.push_back(std::move(message));
    return std::nullopt;
  }
  return Handle(message);
}

std::optional<int> RegistryService::NextLoad() {
  if (loads_.empty()) return std::nullopt;
  pace_.Began(MonotonicNanos());
  const ToProcess load = std::move(loads_.front());
  loads_.pop_front();
  return Handle(load);
}

std::optional<int> RegistryService::Handle(const ToProcess& message) {
  switch (message.message_case()) {
    case ToProcess::kConfigure:
      return OnConfigure(message.configure());
    case ToProcess::kReload:
      if (builder_ == nullptr) return kExitProtocol;
      if (const std::optional<int> code = BuildAndPublish()) return code;
      if (routes_ != nullptr) routes_->Reread();
      return std::nullopt;
    case ToProcess::kChangeModel:
      if (builder_ == nullptr) return kExitProtocol;
      return OnChangeModel(message.change_model());
    case ToProcess::kAdopted:
      LogRing::Say(
          [this](const FromProcess& message, absl::Span<const int> fds) { Send(message, fds); });
      // What was published last may have been lost with the supervisor before.
      if (routes_ != nullptr) routes_->SayAgain();
      if (rollouts_ != nullptr) rollouts_->WatchAgain();
      if (newest_ == nullptr || Publish(*newest_).ok()) return std::nullopt;
      return kExitOrphan;
    case ToProcess::kDrain: {
      FromProcess drained;
      drained.mutable_drained();
      return Send(drained) ? std::nullopt : std::optional<int>(kExitOrphan);
    }
    case ToProcess::kStop:
      return kExitOk;
    default:
      return std::nullopt;  // peers and catalogs are nothing to a registry
  }
}

std::optional<int> RegistryService::OnConfigure(const Configure& configure) {
  if (builder_ != nullptr) return kExitProtocol;
  LogRing::Say(
      [this](const FromProcess& message, absl::Span<const int> fds) { Send(message, fds); });
  ConfigResult parsed = ParseConfig(configure.config_yaml());
  for (const std::string& fault : FormatFaults("configuration", parsed.faults)) {
    Log(LogLevel::kError, "configuration_refused", {{"fault", fault}});
  }
  if (!parsed.faults.empty()) return kExitConfigurationRefused;
  config_ = std::move(parsed.config);
  pace_ = LoadPace(config_.load_interval_ms * kNanosPerMilli);
  builder_ = std::make_unique<CatalogBuilder>(
      OptionsOf(config_, compiler_), configure.first_route(), configure.first_generation(),
      std::set<std::string>(configure.unloaded().begin(), configure.unloaded().end()));
  SetMemory(configure);
  watch_ = std::make_unique<RepositoryWatch>(RepositoryWatch::OptionsOf(config_), MonotonicNanos);
  if (!config_.debt_webhook.empty()) {
    DebtWatch::Options debt;
    debt.limits = {config_.max_age_days, config_.max_untagged_percent};
    debt_ = std::make_unique<DebtWatch>(*OtlpEndpoint::Parse(config_.debt_webhook), debt);
  }
  return BuildAndPublish();
}

std::optional<int> RegistryService::FollowRepository() {
  if (watch_ == nullptr || !published_) return std::nullopt;
  const std::optional<Reread> due = watch_->Step();
  if (!due.has_value()) return std::nullopt;
  const absl::StatusOr<const BuiltCatalog*> built = builder_->Update(config_.repository, *due);
  if (!built.ok()) {
    watch_->NotTried();
    LogStatus(LogLevel::kError, "repository_unreadable", built.status());
    return std::nullopt;
  }
  watch_->Built(*due);
  pace_.Began(MonotonicNanos());
  const absl::Status status = Publish(**built);
  if (status.ok()) return std::nullopt;
  LogStatus(LogLevel::kError, "catalog_not_published", status);
  return absl::IsUnavailable(status) ? kExitOrphan : kExitMemory;
}

std::optional<int> RegistryService::BuildAndPublish() {
  const bool first = !published_;
  watch_->BeforeBuild();
  const absl::StatusOr<const BuiltCatalog*> built = builder_->Build(config_.repository);
  if (!built.ok()) {
    LogStatus(LogLevel::kError, "repository_unreadable", built.status());
    return first ? std::optional<int>(kExitRepositoryUnreadable) : std::nullopt;
  }
  watch_->AfterBuild();
  const absl::Status status = Publish(**built);
  if (status.ok()) {
    if (!published_) GiveWayForGood();  // what routes need is the inbox's thread
    builder_->RunInBackground();
    published_ = true;
    return std::nullopt;
  }
  LogStatus(LogLevel::kError, "catalog_not_published", status);
  return absl::IsUnavailable(status) ? kExitOrphan : kExitMemory;
}

// The catalog first, so that whoever hears that it was changed has it.
std::optional<int> RegistryService::OnChangeModel(const ChangeModel& change) {
  if (change.load()) watch_->BeforeLoad(change.model());
  const absl::StatusOr<const BuiltCatalog*> built =
      change.load()
          ? builder_->Load(config_.repository, change.model())
          : builder_->Unload(config_.repository, change.model(), change.unload_dependents());
  absl::Status status = built.status();
  if (status.ok() && change.load()) {
    Reread read;
    read.models[change.model()].all = true;
    watch_->Built(read);
  }
  if (status.ok()) status = Publish(**built);
  FromProcess message;
  ModelChanged* changed = message.mutable_model_changed();
  changed->set_request(change.request());
  changed->set_code(static_cast<int>(status.code()));
  changed->set_message(Printable({status.message().data(), status.message().size()}));
  if (status.ok()) changed->set_generation((*built)->catalog.generation());
  Log(status.ok() ? LogLevel::kInfo : LogLevel::kWarning,
      change.load() ? "model_load" : "model_unload",
      {{"model", change.model()}, {"outcome", status.ok() ? "done" : changed->message()}});
  return Send(message) ? std::nullopt : std::optional<int>(kExitOrphan);
}

// Routes before the first catalog: nobody is served before they are known.
void RegistryService::UseCatalog(const Catalog& catalog) {
  auto shared = std::make_shared<const Catalog>(catalog);
  if (routes_ != nullptr) return routes_->SetCatalog(std::move(shared));
  const std::string file =
      config_.routes_file.empty() ? config_.repository + "/routes.yaml" : config_.routes_file;
  auto desk = std::make_unique<RoutesDesk>(
      file, RoutesDesk::Host{[this](const Routes& routes) { SayRoutes(routes); },
                             [] { return absl::ToUnixMillis(absl::Now()); },
                             DebtLimits{config_.max_age_days, config_.max_untagged_percent}});
  desk->Start(std::move(shared));
  auto rollouts = std::make_unique<RolloutDesk>(
      RolloutsPath(file), desk.get(), [this](const WatchVersions& versions) {
        {
          std::lock_guard<std::mutex> lock(watched_mutex_);
          watched_ = versions;
        }
        FromProcess message;
        *message.mutable_watch_versions() = versions;
        Send(message);
      });
  rollouts->Start();
  std::lock_guard<std::mutex> lock(routes_mutex_);
  routes_ = std::move(desk);
  rollouts_ = std::move(rollouts);
}

void RegistryService::SayRoutes(const Routes& routes) {
  const std::string bytes = routes.SerializeAsString();
  const absl::StatusOr<Fd> sealed = MakeSealedCopy("routes", bytes.data(), bytes.size());
  if (!sealed.ok()) return LogStatus(LogLevel::kError, "routes_not_published", sealed.status());
  FromProcess message;
  message.mutable_publish_routes()->set_generation(routes.generation());
  Send(message, {sealed->get()});
}

void RegistryService::SetMemory(const Configure& configure) {
  CatalogBuilder::Memory memory;
  memory.rules.bytes = static_cast<uint64_t>(config_.execution_budget_mb) << 20;
  memory.rules.evict_idle = config_.over_budget == "evict_idle";
  memory.rules.evict_after_ms = config_.evict_after_ms;
  memory.use = [this](uint64_t generation) { return UseNow(generation); };
  memory.publish = [this](const BuiltCatalog& built) { return Publish(built); };
  std::set<VersionName> evicted;
  for (const Configure::Evicted& one : configure.evicted()) {
    evicted.insert({one.name(), one.version()});
  }
  builder_->SetMemory(std::move(memory), std::move(evicted));
}

PlanUse RegistryService::UseNow(uint64_t generation) const {
  const ModelUse told = use_.Wait(generation, kSettleLimitMs);
  PlanUse use;
  use.settled_generation = told.settled_generation();
  for (const ModelUse::Version& version : told.versions()) {
    use.idle_ms[{version.model(), version.version()}] = version.idle_ms();
  }
  if (routes_ == nullptr) return use;
  std::vector<NamedRoute> routes = routes_->RollbackTargets();
  const std::shared_ptr<const Routes> now = routes_->routes();
  routes.insert(routes.end(), now->routes().begin(), now->routes().end());
  std::lock_guard<std::mutex> lock(watched_mutex_);
  use.needed = NeededVersions(*routes_->catalog(), routes, watched_);
  return use;
}

bool RegistryService::HandleRoutes(const ToProcess& message) {
  if (message.has_model_use()) {
    use_.Take(message.model_use());
    return true;
  }
  if (message.has_version_statistics()) {
    RolloutDesk* rollouts;
    {
      std::lock_guard<std::mutex> lock(routes_mutex_);
      rollouts = rollouts_.get();
    }
    if (rollouts != nullptr) rollouts->OnStatistics(message.version_statistics());
    return true;
  }
  if (!message.has_change_routes()) return false;
  OnChangeRoutes(message.change_routes());
  return true;
}

void RegistryService::OnChangeRoutes(const ChangeRoutes& change) {
  RoutesDesk* desk;
  RolloutDesk* rollouts;
  {
    std::lock_guard<std::mutex> lock(routes_mutex_);
    desk = routes_.get();
    rollouts = rollouts_.get();
  }
  // Of a supervisor that takes over from another build: nobody asked, and nobody is answered.
  if (change.request() == 0) {
    if (desk != nullptr) desk->Reread();
    return;
  }
  const auto answer = [this, request = change.request(), for_client = change.for_client(),
                       file = desk == nullptr ? "" : desk->file()](const RouteOutcome& known) {
    const RouteOutcome outcome = for_client ? ForClients(known, file) : known;
    FromProcess message;
    RoutesChanged* changed = message.mutable_routes_changed();
    changed->set_request(request);
    changed->set_code(static_cast<int>(outcome.status.code()));
    changed->set_message(outcome.status.ok() ? outcome.message
                                             : std::string(outcome.status.message()));
    changed->set_generation(outcome.generation);
    if (outcome.reply_json.size() <= kMostReplyBytes) changed->set_reply_json(outcome.reply_json);
    Send(message);
  };
  if (rollouts != nullptr && IsRolloutCommand(change.command_json())) {
    return answer(rollouts->Command(change.command_json(), change.who()));
  }
  if (desk != nullptr) return desk->ChangeThen(change.command_json(), change.who(), answer);
  RouteOutcome outcome;
  outcome.status = absl::UnavailableError("the registry reads the repository for the first time");
  answer(outcome);
}

absl::Status RegistryService::Publish(const BuiltCatalog& built) {
  UseCatalog(built.catalog);
  newest_ = &built;
  if (debt_ != nullptr) debt_->Use(built.catalog);
  const std::string bytes = built.catalog.SerializeAsString();
  const absl::StatusOr<Fd> catalog = MakeSealedCopy("catalog", bytes.data(), bytes.size());
  if (!catalog.ok()) return catalog.status();
  FromProcess message;
  PublishCatalog* publish = message.mutable_publish_catalog();
  publish->set_generation(built.catalog.generation());
  std::vector<int> fds = {catalog->get()};
  for (const auto& [route, plan] : built.plans) {
    publish->add_plan_routes(route);
    fds.push_back(plan.get());
  }
  if (!Send(message, fds)) return absl::UnavailableError("the supervisor is gone");
  Log(LogLevel::kInfo, "catalog_published",
      {{"generation", built.catalog.generation()},
       {"models", built.catalog.models_size()},
       {"failed", built.catalog.failed_size()}});
  return absl::OkStatus();
}

}  // namespace millrace
