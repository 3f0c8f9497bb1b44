// A gRPC channel of a client of the tools, plain or with TLS.
//
// Purpose: one place where an Identity becomes credentials. Who may call: any thread.
// What fails: nothing here: files that cannot be read (CheckIdentity says so before) give a channel
//   whose calls fail.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "tools/load/identity.h"

namespace millrace {

std::shared_ptr<grpc::Channel> MakeGrpcChannel(const std::string& address, const Identity& identity,
                                               grpc::ChannelArguments arguments = {});

// Puts the API key, where there is one, into a call.
inline void AddIdentity(const Identity& identity, grpc::ClientContext* context) {
  if (!identity.api_key.empty()) context->AddMetadata("authorization", identity.Authorization());
}

}  // namespace millrace
