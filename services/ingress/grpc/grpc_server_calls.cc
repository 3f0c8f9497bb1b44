// GrpcServer: every unary method but ModelInfer.
#include <utility>

#include "services/ingress/grpc/admin_messages.h"
#include "services/ingress/grpc/call_gate.h"
#include "services/ingress/grpc/grpc_server.h"
#include "services/ingress/grpc/late_call.h"
#include "services/ingress/grpc/method_scopes.h"
#include "services/ingress/grpc/model_describer.h"
#include "services/ingress/grpc/plain_call.h"
#include "services/ingress/grpc/raw_services.h"
#include "services/ingress/grpc/shared_memory_calls.h"

namespace millrace {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// One may be answered while another arrives.
constexpr int kPlainCallsPerMethod = 2;

}  // namespace

PlainCall::Check GrpcServer::CheckOf(const char* method) {
  return [gate = gate_.get(), scope = ScopeOfMethod(method)](grpc::ServerContext* context) {
    return gate->Check(scope, context);
  };
}

template <typename Service, typename Method>
void GrpcServer::AddPlainCall(const char* name, Service* service, Method method,
                              PlainCall::Answer answer) {
  for (int i = 0; i < kPlainCallsPerMethod; ++i) {
    plain_calls_.push_back(std::make_unique<PlainCall>(PostOf(service, method, queue_.get()),
                                                       CheckOf(name), answer, &stopping_));
  }
}

void GrpcServer::AddPlainCalls() {
  RawInference* const oip = &services_->inference;
  AddPlainCall("ServerLive", oip, &RawInference::RequestServerLive,
               AnswerWith<inference::ServerLiveRequest, inference::ServerLiveResponse>(
                   [](const auto&, auto* response) {
                     response->set_live(true);
                     return absl::OkStatus();
                   }));
  AddPlainCall("ServerReady", oip, &RawInference::RequestServerReady,
               AnswerWith<inference::ServerReadyRequest, inference::ServerReadyResponse>(
                   [this](const auto&, auto* response) {
                     response->set_ready(ready());
                     return absl::OkStatus();
                   }));
  AddPlainCall("ModelReady", oip, &RawInference::RequestModelReady,
               AnswerWith<inference::ModelReadyRequest, inference::ModelReadyResponse>(
                   [this](const auto& request, auto* response) {
                     const absl::Status status =
                         frontend_->ModelReady(request.name(), request.version());
                     response->set_ready(status.ok() && !draining_);
                     return absl::IsNotFound(status) ? status : absl::OkStatus();
                   }));
  AddPlainCall("ServerMetadata", oip, &RawInference::RequestServerMetadata,
               AnswerWith<inference::ServerMetadataRequest, inference::ServerMetadataResponse>(
                   [this](const auto&, auto* response) {
                     response->set_name(options_.server_name);
                     response->set_version(options_.server_version);
                     for (const std::string& name : options_.extensions)
                       response->add_extensions(name);
                     return absl::OkStatus();
                   }));
  AddPlainCall(
      "Check", &services_->health, &RawHealth::RequestCheck,
      AnswerWith<HealthCheckRequest, HealthCheckResponse>(
          [this](const auto& request, auto* response) -> absl::Status {
            if (!request.service().empty() && request.service() != Oip::service_full_name()) {
              return absl::NotFoundError("service: not one of this server's");
            }
            response->set_status(ready() ? HealthCheckResponse::SERVING
                                         : HealthCheckResponse::NOT_SERVING);
            return absl::OkStatus();
          }));
}

void GrpcServer::AddCatalogCalls() {
  RawInference* const oip = &services_->inference;
  // `describe` on the catalog of now, held while it is read.
  const auto with_catalog = [this](auto describe) {
    return [this, describe](const auto& request, auto* response) -> absl::Status {
      const std::shared_ptr<const Catalog> catalog = frontend_->catalog();
      if (catalog == nullptr) return absl::UnavailableError("no model is loaded yet");
      return describe(*catalog, request, response);
    };
  };
  AddPlainCall(
      "ModelMetadata", oip, &RawInference::RequestModelMetadata,
      AnswerWith<inference::ModelMetadataRequest, inference::ModelMetadataResponse>(
          with_catalog([this](const Catalog& catalog, const auto& request, auto* response) {
            const Routed asked = frontend_->Described(request.name(), request.version());
            return DescribeModel(catalog, asked.model, asked.version, response);
          })));
  AddPlainCall(
      "ModelConfig", oip, &RawInference::RequestModelConfig,
      AnswerWith<inference::ModelConfigRequest, inference::ModelConfigResponse>(
          with_catalog([this](const Catalog& catalog, const auto& request, auto* response) {
            const Routed asked = frontend_->Described(request.name(), request.version());
            return DescribeConfig(catalog, asked.model, asked.version, response);
          })));
  AddPlainCall(
      "RepositoryIndex", oip, &RawInference::RequestRepositoryIndex,
      AnswerWith<inference::RepositoryIndexRequest, inference::RepositoryIndexResponse>(
          with_catalog([this](const Catalog& catalog, const auto& request, auto* response) {
            return IndexRepository(*frontend_, catalog, draining_, request, response);
          })));
}

// What is told of the server beside its models, and is refused when it shall change.
void GrpcServer::AddSharedMemoryCalls() {
  using namespace inference;  // NOLINT: names of two dozen messages
  RawInference* const oip = &services_->inference;
  ClientRegions* const regions = regions_;
  AddPlainCall(
      "SystemSharedMemoryStatus", oip, &RawInference::RequestSystemSharedMemoryStatus,
      AnswerWith<SystemSharedMemoryStatusRequest, SystemSharedMemoryStatusResponse>(
          [regions](const auto& in, auto* out) { return AnswerStatus(*regions, in, out); }));
  AddPlainCall("SystemSharedMemoryRegister", oip, &RawInference::RequestSystemSharedMemoryRegister,
               AnswerWith<SystemSharedMemoryRegisterRequest, SystemSharedMemoryRegisterResponse>(
                   [regions](const auto& in, auto*) { return AnswerRegister(regions, in); }));
  AddPlainCall(
      "SystemSharedMemoryUnregister", oip, &RawInference::RequestSystemSharedMemoryUnregister,
      AnswerWith<SystemSharedMemoryUnregisterRequest, SystemSharedMemoryUnregisterResponse>(
          [regions](const auto& in, auto*) { return AnswerUnregister(regions, in); }));
  AddPlainCall("CudaSharedMemoryStatus", oip, &RawInference::RequestCudaSharedMemoryStatus,
               AnswerWith<CudaSharedMemoryStatusRequest, CudaSharedMemoryStatusResponse>(
                   [regions](const auto& in, auto*) { return AnswerCudaStatus(*regions, in); }));
  AddPlainCall("CudaSharedMemoryRegister", oip, &RawInference::RequestCudaSharedMemoryRegister,
               AnswerWith<CudaSharedMemoryRegisterRequest, CudaSharedMemoryRegisterResponse>(
                   [regions](const auto&, auto*) { return AnswerCudaRegister(*regions); }));
  AddPlainCall("CudaSharedMemoryUnregister", oip, &RawInference::RequestCudaSharedMemoryUnregister,
               AnswerWith<CudaSharedMemoryUnregisterRequest, CudaSharedMemoryUnregisterResponse>(
                   [regions](const auto&, auto*) { return AnswerCudaUnregister(*regions); }));
}

void GrpcServer::AddSettingCalls() {
  RawInference* const oip = &services_->inference;
  AddPlainCall("ModelStatistics", oip, &RawInference::RequestModelStatistics,
               AnswerWith<inference::ModelStatisticsRequest, inference::ModelStatisticsResponse>(
                   [this](const auto& request, auto* response) {
                     return TellStatistics(*frontend_, request, response);
                   }));
  AddPlainCall("TraceSetting", oip, &RawInference::RequestTraceSetting,
               AnswerWith<inference::TraceSettingRequest, inference::TraceSettingResponse>(
                   [this](const auto& request, auto* response) {
                     return AnswerTraceSetting(*frontend_, request, response);
                   }));
  AddPlainCall("LogSettings", oip, &RawInference::RequestLogSettings,
               AnswerWith<inference::LogSettingsRequest, inference::LogSettingsResponse>(
                   [](const auto& request, auto* response) {
                     return AnswerLogSettings(request, response);
                   }));
}

template <typename Request>
void GrpcServer::Change(grpc::ByteBuffer* wire, LateCall::Reply reply) {
  Request request;
  if (absl::Status status = ParseMessage(wire, &request); !status.ok()) {
    return reply(ToGrpcStatus(status));
  }
  const absl::StatusOr<ModelChange> change = ChangeOf(request);
  if (!change.ok()) return reply(ToGrpcStatus(change.status()));
  frontend_->ChangeModel(*change,
                         [reply](const absl::Status& status) { reply(ToGrpcStatus(status)); });
}

// The two methods that change what is served.
void GrpcServer::AddChangeCalls() {
  RawInference* const oip = &services_->inference;
  for (int i = 0; i < kPlainCallsPerMethod; ++i) {
    late_calls_.push_back(std::make_unique<LateCall>(
        PostOf(oip, &RawInference::RequestRepositoryModelLoad, queue_.get()),
        CheckOf("RepositoryModelLoad"),
        [this](grpc::ByteBuffer* wire, LateCall::Reply reply) {
          Change<inference::RepositoryModelLoadRequest>(wire, std::move(reply));
        },
        &stopping_));
    late_calls_.push_back(std::make_unique<LateCall>(
        PostOf(oip, &RawInference::RequestRepositoryModelUnload, queue_.get()),
        CheckOf("RepositoryModelUnload"),
        [this](grpc::ByteBuffer* wire, LateCall::Reply reply) {
          Change<inference::RepositoryModelUnloadRequest>(wire, std::move(reply));
        },
        &stopping_));
  }
}

}  // namespace millrace
