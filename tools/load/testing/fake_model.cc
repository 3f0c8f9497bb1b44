#include "tools/load/testing/fake_model.h"

#include <grpcpp/grpcpp.h>
#include <string.h>
#include <sys/socket.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <list>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "common/api/inference.grpc.pb.h"
#include "common/check.h"

namespace millrace {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using nlohmann::json;

constexpr char kModel[] = "sum";

// What both protocols share.
struct Model {
  std::function<Behaviour(int64_t)> answer;
  std::atomic<int64_t> calls = 0;

  Behaviour Next() { return answer(calls.fetch_add(1)); }
};

class Service : public inference::GRPCInferenceService::Service {
 public:
  explicit Service(Model* model) : model_(*model) {}

  grpc::Status ModelMetadata(grpc::ServerContext*, const inference::ModelMetadataRequest* request,
                             inference::ModelMetadataResponse* response) override {
    if (request->name() != kModel) return {grpc::StatusCode::NOT_FOUND, "no such model"};
    response->set_name(kModel);
    auto* x = response->add_inputs();
    x->set_name("x");
    x->set_datatype("FP32");
    x->add_shape(-1);
    x->add_shape(2);
    auto* y = response->add_outputs();
    y->set_name("y");
    y->set_datatype("FP32");
    y->add_shape(-1);
    return grpc::Status::OK;
  }

  grpc::Status ModelInfer(grpc::ServerContext* context, const inference::ModelInferRequest* request,
                          inference::ModelInferResponse* response) override {
    return Infer(context, *request, response);
  }

  // One request after the other; an error is the request's own.
  grpc::Status ModelStreamInfer(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<inference::ModelStreamInferResponse, inference::ModelInferRequest>*
          stream) override {
    inference::ModelInferRequest request;
    while (stream->Read(&request)) {
      inference::ModelStreamInferResponse response;
      const grpc::Status status = Infer(context, request, response.mutable_infer_response());
      if (!status.ok()) response.set_error_message(status.error_message());
      response.mutable_infer_response()->set_id(request.id());
      if (!stream->Write(response)) break;
    }
    return grpc::Status::OK;
  }

 private:
  grpc::Status Infer(grpc::ServerContext* context, const inference::ModelInferRequest& request,
                     inference::ModelInferResponse* response) {
    const Behaviour behaviour = model_.Next();
    switch (behaviour) {
      case Behaviour::kRefuse:
      case Behaviour::kDrop:
        return {grpc::StatusCode::UNAVAILABLE, "not ready"};
      case Behaviour::kBadRequest:
        return {grpc::StatusCode::INVALID_ARGUMENT, "not so"};
      case Behaviour::kHang:
        // Synchronous gRPC has no event for it.
        while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return grpc::Status::CANCELLED;
      default:
        break;
    }
    const std::string& raw = request.raw_input_contents(0);
    std::vector<float> x(raw.size() / sizeof(float));
    memcpy(x.data(), raw.data(), raw.size());
    std::string y;
    for (size_t i = 0; i + 1 < x.size(); i += 2) {
      const float sum = x[i] + x[i + 1] + (behaviour == Behaviour::kSum ? 0.F : 1.F);
      y.append(reinterpret_cast<const char*>(&sum), sizeof sum);
    }
    response->set_model_name(kModel);
    auto* output = response->add_outputs();
    output->set_name("y");
    output->set_datatype("FP32");
    output->add_shape(static_cast<int64_t>(x.size() / 2));
    response->add_raw_output_contents(y);
    return grpc::Status::OK;
  }

  Model& model_;
};

std::string Metadata() {
  return json{{"name", kModel},
              {"versions", {"1"}},
              {"platform", "test"},
              {"inputs", {{{"name", "x"}, {"datatype", "FP32"}, {"shape", {-1, 2}}}}},
              {"outputs", {{{"name", "y"}, {"datatype", "FP32"}, {"shape", {-1}}}}}}
      .dump();
}

std::string Sum(const std::string& body, bool right) {
  const json x = json::parse(body)["inputs"][0]["data"];
  json y = json::array();
  for (size_t i = 0; i + 1 < x.size(); i += 2) {
    y.push_back(x[i].get<float>() + x[i + 1].get<float>() + (right ? 0.F : 1.F));
  }
  return json{
      {"model_name", kModel},
      {"outputs", {{{"name", "y"}, {"datatype", "FP32"}, {"shape", {y.size()}}, {"data", y}}}}}
      .dump();
}

}  // namespace

class FakeModel::Impl {
 public:
  explicit Impl(std::function<Behaviour(int64_t)> answer) : service_(&model_) {
    model_.answer = std::move(answer);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &grpc_port_);
    builder.RegisterService(&service_);
    grpc_ = builder.BuildAndStart();
    MR_CHECK(grpc_ != nullptr && grpc_port_ > 0, "a test's server starts");
    threads_.emplace_back([this] { Accept(); });
  }

  ~Impl() {
    grpc_->Shutdown(std::chrono::system_clock::now());
    shutdown(acceptor_.native_handle(), SHUT_RDWR);
    threads_.front().join();
    threads_.pop_front();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (tcp::socket& socket : sockets_) shutdown(socket.native_handle(), SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
  }

  int grpc_port() const { return grpc_port_; }
  int http_port() const { return acceptor_.local_endpoint().port(); }
  int64_t calls() const { return model_.calls.load(); }
  int64_t connections() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return static_cast<int64_t>(sockets_.size());
  }

 private:
  void Accept() {
    for (;;) {
      boost::system::error_code error;
      tcp::socket socket = acceptor_.accept(error);
      if (error) return;
      const std::lock_guard<std::mutex> lock(mutex_);
      sockets_.push_back(std::move(socket));
      threads_.emplace_back([this, &socket = sockets_.back()] { Serve(&socket); });
    }
  }

  void Serve(tcp::socket* socket) {
    boost::beast::flat_buffer buffer;
    boost::system::error_code error;
    for (;;) {
      http::request<http::string_body> request;
      http::read(*socket, buffer, request, error);
      if (error) return;
      http::response<http::string_body> response(http::status::ok, 11);
      const Behaviour did = Answer(request, &response);
      if (did == Behaviour::kHang || did == Behaviour::kDrop) {
        // A hang holds on until the client goes; a drop does not wait for that.
        if (did == Behaviour::kHang) http::read(*socket, buffer, request, error);
        shutdown(socket->native_handle(), SHUT_RDWR);
        return;
      }
      response.prepare_payload();
      http::write(*socket, response, error);
    }
  }

  // What it did; for a hang or a drop there is no response.
  Behaviour Answer(const http::request<http::string_body>& request,
                   http::response<http::string_body>* response) {
    const auto refuse = [&](http::status status, const char* sentence) {
      response->result(status);
      response->body() = json{{"error", sentence}}.dump();
    };
    if (request.method() == http::verb::get) {
      if (request.target() == "/v2/models/sum") {
        response->body() = Metadata();
      } else {
        refuse(http::status::not_found, "no such model");
      }
      return Behaviour::kSum;
    }
    const Behaviour behaviour = model_.Next();
    switch (behaviour) {
      case Behaviour::kRefuse:
        refuse(http::status::service_unavailable, "not ready");
        break;
      case Behaviour::kBadRequest:
        refuse(http::status::bad_request, "not so");
        break;
      case Behaviour::kHang:
      case Behaviour::kDrop:
        break;
      case Behaviour::kNonsense:
        response->body() = "<html>";
        break;
      default:
        response->body() = Sum(request.body(), behaviour == Behaviour::kSum);
    }
    return behaviour;
  }

  Model model_;
  Service service_;
  int grpc_port_ = 0;
  std::unique_ptr<grpc::Server> grpc_;
  asio::io_context io_;
  tcp::acceptor acceptor_{io_, {asio::ip::address_v4::loopback(), 0}};
  std::mutex mutex_;
  std::list<tcp::socket> sockets_;
  std::list<std::thread> threads_;  // the first accepts, and alone adds to them
};

FakeModel::FakeModel(std::function<Behaviour(int64_t)> answer)
    : impl_(std::make_unique<Impl>(std::move(answer))) {}
FakeModel::~FakeModel() = default;

std::string FakeModel::grpc() const { return "127.0.0.1:" + std::to_string(impl_->grpc_port()); }
std::string FakeModel::http() const { return "127.0.0.1:" + std::to_string(impl_->http_port()); }
int64_t FakeModel::calls() const { return impl_->calls(); }
int64_t FakeModel::connections() const { return impl_->connections(); }

}  // namespace millrace
