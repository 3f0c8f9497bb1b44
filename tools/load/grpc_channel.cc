#include "tools/load/grpc_channel.h"

#include "absl/synchronization/mutex.h"

namespace millrace {
namespace {

std::shared_ptr<grpc::ChannelCredentials> CredentialsOf(const Identity& identity) {
  if (!identity.tls()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  // With an empty text gRPC would take the system's authorities instead.
  options.pem_root_certs = "unreadable";
  if (const absl::StatusOr<IdentityPem> pem = ReadPem(identity); pem.ok()) {
    options.pem_root_certs = pem->ca;
    options.pem_cert_chain = pem->cert;
    options.pem_private_key = pem->key;
  }
  return grpc::SslCredentials(options);
}

}  // namespace

std::shared_ptr<grpc::Channel> MakeGrpcChannel(const std::string& address, const Identity& identity,
                                               grpc::ChannelArguments arguments) {
  // Debian builds Abseil so that each lock is entered in a graph of all.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  arguments.SetInt(GRPC_ARG_ENABLE_CHANNELZ, 0);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address, CredentialsOf(identity), arguments);
}

}  // namespace millrace
