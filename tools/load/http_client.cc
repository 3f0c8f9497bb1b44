#include "tools/load/client.h"
#include "tools/load/http_connection.h"
#include "tools/load/http_json.h"

namespace millrace {
namespace {

class HttpClient : public Client {
 public:
  HttpClient(const std::string& address, int64_t timeout_ms, const Identity& identity)
      : connection_(address, timeout_ms, identity) {}

  absl::StatusOr<inference::ModelMetadataResponse> Metadata(const std::string& model,
                                                            const std::string& version) override {
    const absl::StatusOr<std::string> body = connection_.Get(ModelTarget(model, version));
    if (!body.ok()) return body.status();
    return ParseMetadataAnswer(*body);
  }

  absl::StatusOr<inference::ModelInferResponse> Infer(
      const inference::ModelInferRequest& request) override {
    const absl::StatusOr<std::string> json = InferRequestJson(request);
    if (!json.ok()) return json.status();
    const std::string target = ModelTarget(request.model_name(), request.model_version());
    const absl::StatusOr<std::string> body = connection_.Post(target + "/infer", *json);
    if (!body.ok()) return body.status();
    return ParseInferAnswer(*body);
  }

 private:
  HttpConnection connection_;
};

}  // namespace

std::unique_ptr<Client> MakeHttpClient(const std::string& address, int64_t timeout_ms,
                                       const Identity& identity) {
  return std::make_unique<HttpClient>(address, timeout_ms, identity);
}

}  // namespace millrace
