// The generated services with every method raw: requests and replies are byte buffers.
//
// Purpose: we parse ourselves, so that a malformed message is INVALID_ARGUMENT by our words, and a
//   tensor goes from a peer's memory into the reply in one copy.
// Invariant: no method stays synchronous; one that did would make gRPC start threads of its own.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>

#include "common/api/health.grpc.pb.h"
#include "common/api/inference.grpc.pb.h"
#include "common/api/reflection.grpc.pb.h"
#include "common/api/reflection_v1.grpc.pb.h"
#include "services/ingress/grpc/queue_event.h"

namespace millrace {

using Oip = inference::GRPCInferenceService;
using RawSharedMemory = Oip::WithRawMethod_SystemSharedMemoryStatus<
    Oip::WithRawMethod_SystemSharedMemoryRegister<Oip::WithRawMethod_SystemSharedMemoryUnregister<
        Oip::WithRawMethod_CudaSharedMemoryStatus<Oip::WithRawMethod_CudaSharedMemoryRegister<
            Oip::WithRawMethod_CudaSharedMemoryUnregister<Oip::Service>>>>>>;
using RawOip = Oip::WithRawMethod_ServerLive<
    Oip::WithRawMethod_ServerReady<Oip::WithRawMethod_ModelReady<Oip::WithRawMethod_ServerMetadata<
        Oip::WithRawMethod_ModelMetadata<Oip::WithRawMethod_ModelInfer<
            Oip::WithRawMethod_ModelStreamInfer<Oip::WithRawMethod_ModelConfig<
                Oip::WithRawMethod_RepositoryIndex<RawSharedMemory>>>>>>>>>;
using RawAdmin = Oip::WithRawMethod_RepositoryModelLoad<Oip::WithRawMethod_RepositoryModelUnload<
    Oip::WithRawMethod_TraceSetting<Oip::WithRawMethod_LogSettings<RawOip>>>>;
using RawInference = Oip::WithRawMethod_ModelStatistics<RawAdmin>;
using RawHealth = grpc::health::v1::Health::WithRawMethod_Check<
    grpc::health::v1::Health::WithRawMethod_Watch<grpc::health::v1::Health::Service>>;
using RawReflection = grpc::reflection::v1::ServerReflection::WithRawMethod_ServerReflectionInfo<
    grpc::reflection::v1::ServerReflection::Service>;
using RawOldReflection =
    grpc::reflection::v1alpha::ServerReflection::WithRawMethod_ServerReflectionInfo<
        grpc::reflection::v1alpha::ServerReflection::Service>;

struct RawServices {
  RawInference inference;
  RawHealth health;
  RawReflection reflection;
  RawOldReflection old_reflection;  // v1alpha, which most tools still ask
};

using RawWriter = grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>;

// Asks the server for the next call of one method; `event` fires when it is there.
using RawPost = std::function<void(grpc::ServerContext* context, grpc::ByteBuffer* request,
                                   RawWriter* writer, QueueEvent* event)>;

using RawStream = grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;

// The same for a method of streams.
using RawStreamPost =
    std::function<void(grpc::ServerContext* context, RawStream* stream, QueueEvent* event)>;

// A pointer to one of the generated Request... members, as a RawPost.
template <typename Service, typename Method>
RawPost PostOf(Service* service, Method method, grpc::ServerCompletionQueue* queue) {
  return [service, method, queue](grpc::ServerContext* context, grpc::ByteBuffer* request,
                                  RawWriter* writer, QueueEvent* event) {
    (service->*method)(context, request, writer, queue, queue, event);
  };
}

template <typename Service, typename Method>
RawStreamPost StreamPostOf(Service* service, Method method, grpc::ServerCompletionQueue* queue) {
  return
      [service, method, queue](grpc::ServerContext* context, RawStream* stream, QueueEvent* event) {
        (service->*method)(context, stream, queue, queue, event);
      };
}

}  // namespace millrace
