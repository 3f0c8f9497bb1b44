#include "services/ingress/grpc/reflection.h"

#include <utility>

#include "common/check.h"
#include "services/ingress/grpc/grpc_status.h"

namespace millrace {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;
namespace v1 = grpc::reflection::v1;
namespace v1alpha = grpc::reflection::v1alpha;
using Files = std::unordered_set<const FileDescriptor*>;

// Imports first.
void AddWithImports(const FileDescriptor* file, Files* files,
                    std::vector<const FileDescriptor*>* order) {
  if (!files->insert(file).second) return;
  for (int i = 0; i < file->dependency_count(); ++i) {
    AddWithImports(file->dependency(i), files, order);
  }
  order->push_back(file);
}

template <typename Response>
void Fail(grpc::StatusCode code, const char* message, Response* response) {
  response->mutable_error_response()->set_error_code(code);
  response->mutable_error_response()->set_error_message(message);
}

template <typename Response>
void Describe(const FileDescriptor* file, Response* response) {
  if (file == nullptr) {
    return Fail(grpc::StatusCode::NOT_FOUND, "no public file or symbol has that name", response);
  }
  Files files;
  std::vector<const FileDescriptor*> order;
  AddWithImports(file, &files, &order);
  // The file that was asked for comes first.
  for (size_t i = order.size(); i-- > 0;) {
    FileDescriptorProto proto;
    order[i]->CopyTo(&proto);
    proto.SerializeToString(
        response->mutable_file_descriptor_response()->add_file_descriptor_proto());
  }
}

// One answer for each message, in turn.
template <typename Request, typename Response>
class ReflectionStream final : public StreamCall {
 public:
  ReflectionStream(const Reflection* reflection, StreamPool* pool)
      : StreamCall(pool), reflection_(reflection) {}

 protected:
  void OnArrived() override { Read(); }
  void OnMessage(grpc::ByteBuffer* message) override {
    if (!open()) return;
    Request request;
    if (absl::Status status = ParseMessage(message, &request); !status.ok()) {
      return Finish(ToGrpcStatus(status));
    }
    Response response;
    reflection_->Answer(request, &response);
    grpc::ByteBuffer reply;
    bool own_buffer = false;
    const grpc::Status status =
        grpc::SerializationTraits<Response>::Serialize(response, &reply, &own_buffer);
    if (!status.ok()) return Finish(status);
    Write(reply, false);
  }
  void OnWritten() override {
    if (open()) Read();
  }
  void OnHalfClosed() override {
    if (open()) Finish(grpc::Status::OK);
  }
  void OnCancelled() override {}
  void OnDrain() override {
    Finish({grpc::StatusCode::UNAVAILABLE, "the server is shutting down"});
  }

 private:
  const Reflection* const reflection_;
};

}  // namespace

Reflection::Reflection(std::vector<std::string> services) : services_(std::move(services)) {
  std::vector<const FileDescriptor*> order;
  for (const std::string& name : services_) {
    const auto* service = DescriptorPool::generated_pool()->FindServiceByName(name);
    MR_CHECK(service != nullptr, "a service that is served has its descriptor linked in");
    AddWithImports(service->file(), &public_files_, &order);
  }
}

const FileDescriptor* Reflection::Public(const FileDescriptor* file) const {
  return public_files_.count(file) != 0 ? file : nullptr;
}

template <typename Request, typename Response>
void Reflection::Answer(const Request& request, Response* response) const {
  const DescriptorPool* const pool = DescriptorPool::generated_pool();
  response->set_valid_host(request.host());
  *response->mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kListServices:
      for (const std::string& name : services_) {
        response->mutable_list_services_response()->add_service()->set_name(name);
      }
      return;
    case Request::kFileByFilename:
      return Describe(Public(pool->FindFileByName(request.file_by_filename())), response);
    case Request::kFileContainingSymbol:
      return Describe(Public(pool->FindFileContainingSymbol(request.file_containing_symbol())),
                      response);
    case Request::kAllExtensionNumbersOfType: {
      const std::string& name = request.all_extension_numbers_of_type();
      const auto* type = pool->FindMessageTypeByName(name);
      if (type == nullptr || Public(type->file()) == nullptr) break;
      // The public messages can have no extensions.
      response->mutable_all_extension_numbers_response()->set_base_type_name(name);
      return;
    }
    case Request::kFileContainingExtension:
      break;
    case Request::MESSAGE_REQUEST_NOT_SET:
      return Fail(grpc::StatusCode::INVALID_ARGUMENT, "the request asks nothing", response);
  }
  Fail(grpc::StatusCode::NOT_FOUND, "no public type or extension is that", response);
}

template void Reflection::Answer(const v1::ServerReflectionRequest&,
                                 v1::ServerReflectionResponse*) const;
template void Reflection::Answer(const v1alpha::ServerReflectionRequest&,
                                 v1alpha::ServerReflectionResponse*) const;

std::unique_ptr<StreamCall> Reflection::MakeStream(StreamPool* pool) const {
  return std::make_unique<
      ReflectionStream<v1::ServerReflectionRequest, v1::ServerReflectionResponse>>(this, pool);
}

std::unique_ptr<StreamCall> Reflection::MakeOldStream(StreamPool* pool) const {
  return std::make_unique<
      ReflectionStream<v1alpha::ServerReflectionRequest, v1alpha::ServerReflectionResponse>>(this,
                                                                                             pool);
}

}  // namespace millrace
