#include "services/ingress/grpc/admin_messages.h"

#include <string>
#include <variant>
#include <vector>

#include "services/ingress/verbs.h"

namespace millrace {
namespace {

void Set(const CountAndNs& from, inference::StatisticDuration* to) {
  to->set_count(from.count);
  to->set_ns(from.ns);
}

void Set(const ModelStatistic& from, uint64_t plan_bytes, inference::ModelStatistics* to) {
  to->set_name(from.name);
  to->set_version(from.version);
  to->set_last_inference(from.last_inference_ms);
  to->set_inference_count(from.inference_count);
  to->set_execution_count(from.execution_count);
  inference::InferStatistics* stats = to->mutable_inference_stats();
  Set(from.success, stats->mutable_success());
  Set(from.fail, stats->mutable_fail());
  Set(from.queue, stats->mutable_queue());
  Set(from.compute_input, stats->mutable_compute_input());
  Set(from.compute_infer, stats->mutable_compute_infer());
  Set(from.compute_output, stats->mutable_compute_output());
  Set({}, stats->mutable_cache_hit());
  Set({}, stats->mutable_cache_miss());
  for (const BatchStatistic& batch : from.batches) {
    inference::InferBatchStatistics* row = to->add_batch_stats();
    row->set_batch_size(batch.batch_size);
    Set(batch.compute_input, row->mutable_compute_input());
    Set(batch.compute_infer, row->mutable_compute_infer());
    Set(batch.compute_output, row->mutable_compute_output());
  }
  if (plan_bytes == 0) return;
  inference::MemoryUsage* memory = to->add_memory_usage();
  memory->set_type("CPU");
  memory->set_byte_size(plan_bytes);
}

absl::Status CheckRepository(const std::string& name) {
  if (name.empty()) return absl::OkStatus();
  return absl::UnimplementedError("repository_name: this server has one repository, unnamed");
}

template <typename Request>
absl::StatusOr<ModelChange> Change(ModelChange::Kind kind, const Request& request) {
  if (absl::Status s = CheckRepository(request.repository_name()); !s.ok()) return s;
  if (absl::Status s = CheckModelName(request.model_name()); !s.ok()) return s;
  ModelChange change;
  change.kind = kind;
  change.model = request.model_name();
  for (const auto& [key, value] : request.parameters()) {
    if (absl::Status s = CheckChangeParameter(kind, key, value.has_bool_param()); !s.ok()) return s;
    change.unload_dependents = value.bool_param();  // the one that is known
  }
  return change;
}

}  // namespace

absl::Status TellStatistics(const Frontend& frontend,
                            const inference::ModelStatisticsRequest& request,
                            inference::ModelStatisticsResponse* response) {
  std::vector<ModelStatistic> found;
  absl::Status status = FindStatistics(frontend, request.name(), request.version(), &found);
  if (!status.ok()) return status;
  const std::shared_ptr<const Catalog> catalog = frontend.catalog();
  for (const ModelStatistic& one : found) {
    Set(one, PlanBytesOf(catalog.get(), one), response->add_model_stats());
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelChange> ChangeOf(const inference::RepositoryModelLoadRequest& request) {
  return Change(ModelChange::Kind::kLoad, request);
}

absl::StatusOr<ModelChange> ChangeOf(const inference::RepositoryModelUnloadRequest& request) {
  return Change(ModelChange::Kind::kUnload, request);
}

absl::Status AnswerTraceSetting(const Frontend& frontend,
                                const inference::TraceSettingRequest& request,
                                inference::TraceSettingResponse* response) {
  if (!request.model_name().empty()) {
    const absl::Status ready = frontend.ModelReady(request.model_name(), "");
    if (absl::IsNotFound(ready)) return ready;
  }
  for (const auto& [name, setting] : request.settings()) {
    const std::vector<std::string> values(setting.value().begin(), setting.value().end());
    if (absl::Status s = CheckTraceSetting(name, values); !s.ok()) return s;
  }
  (*response->mutable_settings())[std::string(kTraceLevel)].add_value(std::string(kTraceOff));
  return absl::OkStatus();
}

absl::Status AnswerLogSettings(const inference::LogSettingsRequest& request,
                               inference::LogSettingsResponse* response) {
  for (const auto& [name, setting] : request.settings()) {
    std::variant<bool, uint32_t, std::string> value;
    if (setting.has_bool_param()) {
      value = setting.bool_param();
    } else if (setting.has_uint32_param()) {
      value = setting.uint32_param();
    } else {
      value = setting.string_param();
    }
    if (absl::Status s = CheckLogSetting(name, value); !s.ok()) return s;
  }
  for (const LogSetting& setting : LogSettingsNow()) {
    auto& told = (*response->mutable_settings())[std::string(setting.name)];
    if (const bool* flag = std::get_if<bool>(&setting.value)) {
      told.set_bool_param(*flag);
    } else if (const uint32_t* number = std::get_if<uint32_t>(&setting.value)) {
      told.set_uint32_param(*number);
    } else {
      told.set_string_param(std::string(std::get<std::string_view>(setting.value)));
    }
  }
  return absl::OkStatus();
}

}  // namespace millrace
