#include "services/ingress/grpc/call_gate.h"

#include <grpc/grpc_security_constants.h>

#include <string>
#include <string_view>
#include <vector>

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

// The common name of the certificate that TLS has verified; looked for where no key is shown.
std::string CertificateOf(const grpc::ServerContext& context) {
  const auto peer = context.auth_context();
  if (peer == nullptr || !peer->IsPeerAuthenticated()) return "";
  const std::vector<grpc::string_ref> names = peer->FindPropertyValues(GRPC_X509_CN_PROPERTY_NAME);
  return names.empty() ? "" : std::string(names[0].data(), names[0].size());
}

absl::Status StatusOf(const Verdict& verdict) {
  return verdict.ok() ? absl::OkStatus() : verdict.status();
}

int64_t RetryAfterMs(const Verdict& verdict) {
  return (verdict.retry_after_ns + kNanosPerMilli - 1) / kNanosPerMilli;
}

}  // namespace

absl::Status CallGate::Check(Scope scope, grpc::ServerContext* context) {
  owner_ = {};
  if (!gate_.AsksForKey(scope)) return StatusOf(gate_.Check(scope, {}, 0));
  const std::string_view key = KeyOf(*context);
  const std::string certificate = key.empty() ? CertificateOf(*context) : "";
  const Verdict verdict = gate_.Check(scope, {key, certificate}, MonotonicNanos());
  owner_ = verdict.owner;
  if (verdict.retry_after_ns > 0) {
    context->AddTrailingMetadata("grpc-retry-pushback-ms", absl::StrCat(RetryAfterMs(verdict)));
  }
  return StatusOf(verdict);
}

absl::Status CallGate::Admit(Scope scope, const grpc::ServerContext& context, Permit* permit) {
  if (!gate_.AsksForKey(scope)) return StatusOf(gate_.Admit(scope, {}, 0, permit));
  const std::string_view key = KeyOf(context);
  const std::string certificate = key.empty() ? CertificateOf(context) : "";
  return StatusOf(gate_.Admit(scope, {key, certificate}, MonotonicNanos(), permit));
}

absl::Status CallGate::Use(const Permit& permit, int64_t* retry_after_ms) {
  owner_ = {};
  if (!permit.keyed) return absl::OkStatus();
  const Verdict verdict = gate_.Use(permit, MonotonicNanos());
  owner_ = verdict.owner;
  *retry_after_ms = RetryAfterMs(verdict);
  return StatusOf(verdict);
}

}  // namespace millrace
