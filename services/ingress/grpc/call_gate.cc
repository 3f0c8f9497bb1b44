#include "services/ingress/grpc/call_gate.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/clock.h"

namespace millrace {
namespace {

std::string_view Find(const grpc::ServerContext& context, const char* name) {
  const auto& metadata = context.client_metadata();
  const auto at = metadata.find(name);
  if (at == metadata.end()) return {};
  return {at->second.data(), at->second.size()};
}

std::string_view KeyOf(const grpc::ServerContext& context) {
  const std::string_view key = BearerKey(Find(context, "authorization"));
  return key.empty() ? Find(context, "x-api-key") : key;
}

absl::Status StatusOf(const Verdict& verdict) {
  return verdict.ok() ? absl::OkStatus() : verdict.status();
}

int64_t RetryAfterMs(const Verdict& verdict) {
  return (verdict.retry_after_ns + kNanosPerMilli - 1) / kNanosPerMilli;
}

}  // namespace

absl::Status CallGate::Check(Scope scope, grpc::ServerContext* context) {
  if (!gate_.AsksForKey(scope)) return StatusOf(gate_.Check(scope, {}, 0));
  const Verdict verdict = gate_.Check(scope, KeyOf(*context), MonotonicNanos());
  if (verdict.retry_after_ns > 0) {
    context->AddTrailingMetadata("grpc-retry-pushback-ms", absl::StrCat(RetryAfterMs(verdict)));
  }
  return StatusOf(verdict);
}

absl::Status CallGate::Admit(Scope scope, const grpc::ServerContext& context, Permit* permit) {
  if (!gate_.AsksForKey(scope)) return StatusOf(gate_.Admit(scope, {}, 0, permit));
  return StatusOf(gate_.Admit(scope, KeyOf(context), MonotonicNanos(), permit));
}

absl::Status CallGate::Use(const Permit& permit, int64_t* retry_after_ms) {
  if (!permit.keyed) return absl::OkStatus();
  const Verdict verdict = gate_.Use(permit, MonotonicNanos());
  *retry_after_ms = RetryAfterMs(verdict);
  return StatusOf(verdict);
}

}  // namespace millrace
