// The six methods about clients' shared memory, on messages.
//
// Purpose: the protocol's words for what ClientRegions does, and the answers about CUDA's memory,
//   of which there is none. Who may call: any thread. Nothing is kept.
// What fails: what ClientRegions says; a registration of CUDA memory with UNIMPLEMENTED; asking for
//   the status of one named CUDA region with NOT_FOUND.
#pragma once

#include "absl/status/status.h"
#include "common/api/inference.pb.h"
#include "services/ingress/client_shm/regions.h"

namespace millrace {

absl::Status AnswerStatus(const ClientRegions& regions,
                          const inference::SystemSharedMemoryStatusRequest& request,
                          inference::SystemSharedMemoryStatusResponse* response);
absl::Status AnswerRegister(ClientRegions* regions,
                            const inference::SystemSharedMemoryRegisterRequest& request);
absl::Status AnswerUnregister(ClientRegions* regions,
                              const inference::SystemSharedMemoryUnregisterRequest& request);
absl::Status AnswerCudaStatus(const ClientRegions& regions,
                              const inference::CudaSharedMemoryStatusRequest& request);
absl::Status AnswerCudaRegister(const ClientRegions& regions);
absl::Status AnswerCudaUnregister(const ClientRegions& regions);

}  // namespace millrace
