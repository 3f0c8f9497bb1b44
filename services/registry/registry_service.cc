#include "services/registry/registry_service.h"

#include <poll.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/cpu_list.h"
#include "common/log.h"
#include "ipc/memfd.h"
#include "services/registry/text.h"
#include "services/runtime/background.h"
#include "services/runtime/process.h"

namespace millrace {
namespace {

void LogStatus(LogLevel level, std::string_view event, const absl::Status& status) {
  Log(level, event, {{"reason", std::string(status.message())}});
}

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
  while (true) {
    pollfd ready[2] = {{channel_.fd(), POLLIN, 0}, {watch_ ? watch_->fd() : -1, POLLIN, 0}};
    poll(ready, 2, watch_ ? watch_->TimeoutMs() : -1);
    if (const std::optional<int> code = FollowRepository()) return *code;
    ToProcess message;
    std::vector<Fd> fds;  // the roster of Configure: a registry has no use for it
    const absl::StatusOr<bool> received = channel_.Receive(&message, &fds);
    if (!received.ok()) {
      LogStatus(LogLevel::kError, "control_channel", received.status());
      return absl::IsUnavailable(received.status()) ? kExitOrphan : kExitProtocol;
    }
    if (!*received) continue;
    if (const std::optional<int> code = Handle(message)) return *code;
  }
}

std::optional<int> RegistryService::Handle(const ToProcess& message) {
  switch (message.message_case()) {
    case ToProcess::kConfigure:
      return OnConfigure(message.configure());
    case ToProcess::kReload:
      if (builder_ == nullptr) return kExitProtocol;
      return BuildAndPublish();
    case ToProcess::kChangeModel:
      if (builder_ == nullptr) return kExitProtocol;
      return OnChangeModel(message.change_model());
    case ToProcess::kAdopted:
      // What was published last may have been lost with the supervisor before.
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
  ConfigResult parsed = ParseConfig(configure.config_yaml());
  for (const std::string& fault : FormatFaults("configuration", parsed.faults)) {
    Log(LogLevel::kError, "configuration_refused", {{"fault", fault}});
  }
  if (!parsed.faults.empty()) return kExitConfigurationRefused;
  config_ = std::move(parsed.config);
  builder_ = std::make_unique<CatalogBuilder>(
      OptionsOf(config_, compiler_), configure.first_route(), configure.first_generation(),
      std::set<std::string>(configure.unloaded().begin(), configure.unloaded().end()));
  watch_ = std::make_unique<RepositoryWatch>(RepositoryWatch::OptionsOf(config_), MonotonicNanos);
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
    if (!published_) GiveWay();
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

absl::Status RegistryService::Publish(const BuiltCatalog& built) {
  newest_ = &built;
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

bool RegistryService::Send(const FromProcess& message, absl::Span<const int> fds) {
  while (true) {
    const absl::Status status = channel_.Send(message, fds);
    if (status.ok()) return true;
    if (!absl::IsResourceExhausted(status)) return false;
    pollfd socket = {channel_.fd(), POLLOUT, 0};
    poll(&socket, 1, -1);
  }
}

}  // namespace millrace
