// Server reflection: what the public services look like, for clients without our protos.
//
// Purpose: list, and describe by file name or symbol. Who may call: only the thread that polls the
//   queue. Ownership: describes what is linked in; Reflection must outlive its streams.
// Invariants: 1. only the files of the given services, and what they import, are told: the process
//   has descriptors of its own affairs, too. 2. A file is told with all that it imports.
// What fails: each request by itself, in its response; a message that is none ends the stream with
//   INVALID_ARGUMENT.
#pragma once

#include <google/protobuf/descriptor.h>

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "common/api/reflection.pb.h"
#include "common/api/reflection_v1.pb.h"
#include "services/ingress/grpc/stream_call.h"

namespace millrace {

class Reflection {
 public:
  // Full names of services whose descriptors are linked in.
  explicit Reflection(std::vector<std::string> services);

  // Of either version: their messages have the same fields.
  template <typename Request, typename Response>
  void Answer(const Request& request, Response* response) const;

  // A stream that answers with this, of version v1 or v1alpha.
  std::unique_ptr<StreamCall> MakeStream(StreamPool* pool) const;
  std::unique_ptr<StreamCall> MakeOldStream(StreamPool* pool) const;

 private:
  const google::protobuf::FileDescriptor* Public(
      const google::protobuf::FileDescriptor* file) const;

  const std::vector<std::string> services_;
  std::unordered_set<const google::protobuf::FileDescriptor*> public_files_;
};

}  // namespace millrace
