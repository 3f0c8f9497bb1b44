#include "services/ingress/grpc/shared_memory_calls.h"

namespace millrace {

absl::Status AnswerStatus(const ClientRegions& regions,
                          const inference::SystemSharedMemoryStatusRequest& request,
                          inference::SystemSharedMemoryStatusResponse* response) {
  const auto list = regions.Status(request.name());
  if (!list.ok()) return list.status();
  for (const auto& region : *list) {
    auto& status = (*response->mutable_regions())[region->name()];
    status.set_name(region->name());
    status.set_key(region->key());
    status.set_offset(region->offset());
    status.set_byte_size(region->bytes());
  }
  return absl::OkStatus();
}

absl::Status AnswerRegister(ClientRegions* regions,
                            const inference::SystemSharedMemoryRegisterRequest& request) {
  return regions->Register(request.name(), request.key(), request.offset(), request.byte_size());
}

absl::Status AnswerUnregister(ClientRegions* regions,
                              const inference::SystemSharedMemoryUnregisterRequest& request) {
  return regions->Unregister(request.name());
}

absl::Status AnswerCudaStatus(const ClientRegions& regions,
                              const inference::CudaSharedMemoryStatusRequest& request) {
  return regions.CheckCudaStatus(request.name());
}

absl::Status AnswerCudaRegister(const ClientRegions& regions) { return regions.RefuseCuda(); }

absl::Status AnswerCudaUnregister(const ClientRegions& regions) { return regions.CheckAllowed(); }

}  // namespace millrace
