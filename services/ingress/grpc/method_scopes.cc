#include "services/ingress/grpc/method_scopes.h"

#include "common/check.h"

namespace millrace {
namespace {

constexpr MethodScope kScopes[] = {
    {"ServerLive", kScopeNone},
    {"ServerReady", kScopeNone},
    {"Check", kScopeNone},
    {"Watch", kScopeNone},
    {"ServerReflectionInfo", kScopeNone},
    {"ServerMetadata", kScopeInfer},
    {"ModelMetadata", kScopeInfer},
    {"ModelReady", kScopeInfer},
    {"ModelConfig", kScopeInfer},
    {"ModelInfer", kScopeInfer},
    {"ModelStreamInfer", kScopeInfer},
    {"SystemSharedMemoryStatus", kScopeInfer},
    {"SystemSharedMemoryRegister", kScopeInfer},
    {"SystemSharedMemoryUnregister", kScopeInfer},
    {"CudaSharedMemoryStatus", kScopeInfer},
    {"CudaSharedMemoryRegister", kScopeInfer},
    {"CudaSharedMemoryUnregister", kScopeInfer},
    {"ModelStatistics", kScopeMetrics},
    {"RepositoryIndex", kScopeAdmin},
    {"RepositoryModelLoad", kScopeAdmin},
    {"RepositoryModelUnload", kScopeAdmin},
    {"TraceSetting", kScopeAdmin},
    {"LogSettings", kScopeAdmin},
};

}  // namespace

absl::Span<const MethodScope> MethodScopes() { return kScopes; }

Scope ScopeOfMethod(std::string_view method) {
  for (const MethodScope& row : kScopes) {
    if (row.method == method) return row.scope;
  }
  MR_CHECK(false, "every method that is served has a scope");
  return kScopeAdmin;
}

}  // namespace millrace
