// Shared memory with a server on this machine, through the C interface of ipc/client.
#include <poll.h>
#include <string.h>

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/datatype.h"
#include "ipc/client/millrace_client.h"
#include "tools/load/client.h"
#include "tools/load/transport.h"

namespace millrace {
namespace {

constexpr size_t kBatch = 64;
constexpr int kReconnectMs = 10;

absl::Status StatusOf(int code, const char* sentence) {
  return absl::Status(static_cast<absl::StatusCode>(code), sentence);
}

// A golden request in the client's terms: places instead of names.
struct Prepared {
  std::vector<mr_input> inputs;
  std::vector<const std::string*> data;
  uint32_t rows = 0;
  uint32_t outputs = 0;
  uint64_t bytes = 0;
};

class LocalTransport : public Transport {
 public:
  LocalTransport(const GoldenSet& golden, const TransportOptions& options, int slots)
      : golden_(golden), options_(options), slots_(slots) {
    ended_.resize(kBatch);
    requests_.resize(static_cast<size_t>(slots));
  }
  ~LocalTransport() override { mr_close(client_); }

  absl::Status Connect() {
    mr_options options = {};
    options.struct_bytes = sizeof options;
    for (const GoldenRequest& golden : golden_.requests) {
      uint64_t bytes = 0;
      for (const std::string& raw : golden.request.raw_input_contents()) bytes += raw.size();
      options.max_request_bytes = std::max(options.max_request_bytes, bytes);
      uint64_t answer = 0;
      for (const std::string& raw : golden.expected) answer += raw.size();
      options.max_answer_bytes = std::max(options.max_answer_bytes, answer);
    }
    options.max_request_bytes = std::max<uint64_t>(options.max_request_bytes, 64 << 10);
    options.max_answer_bytes = std::max<uint64_t>(options.max_answer_bytes, 64 << 10);
    TakeEnded();
    mr_close(client_);
    client_ = nullptr;
    int code = mr_connect(options_.address.c_str(), &options, &client_);
    if (code != MR_OK) return StatusOf(code, mr_error(nullptr));
    if (mr_places(client_) < static_cast<size_t>(slots_)) {
      return absl::InvalidArgumentError(absl::StrCat("in flight: a local client has at most ",
                                                     mr_places(client_), " (local_in_flight)"));
    }
    const auto& first = golden_.requests[0].request;
    code =
        mr_open_model(client_, first.model_name().c_str(), first.model_version().c_str(), &model_);
    if (code != MR_OK) return StatusOf(code, mr_error(client_));
    return Prepare();
  }

  void Send(int slot, size_t request, bool again) override {
    if ((client_ == nullptr || mr_connected(client_) == 0) && !Reconnect(again)) {
      return Refused(slot, "CONNECT", "no server", true);
    }
    const Prepared& prepared = prepared_[request];
    mr_request* begun = nullptr;
    int code = mr_begin(client_, model_, prepared.rows, prepared.inputs.data(),
                        prepared.inputs.size(), &begun);
    if (code == MR_OK) {
      for (size_t i = 0; i < prepared.data.size(); ++i) {
        memcpy(mr_input_data(begun, i, nullptr), prepared.data[i]->data(),
               prepared.data[i]->size());
      }
      mr_submit_options options = {};
      options.struct_bytes = sizeof options;
      const int64_t told_ms = options_.told_ms > 0 ? options_.told_ms : options_.deadline_ms;
      options.deadline_ns = MonotonicNanos() + told_ms * kNanosPerMilli;
      options.outputs = prepared.outputs;
      options.user = reinterpret_cast<void*>(static_cast<intptr_t>(slot));
      requests_[static_cast<size_t>(slot)] = request;
      code = mr_submit(client_, begun, &options);
      if (code != MR_OK) mr_release(client_, begun);
    }
    if (code != MR_OK) Refused(slot, CodeName(code), mr_error(client_), code == MR_UNAVAILABLE);
  }

  std::optional<Done> Wait(int64_t until_ns) override {
    if (!refused_.empty()) {
      Done done = std::move(refused_.back());
      refused_.pop_back();
      return done;
    }
    if (client_ == nullptr) return {};
    if (next_ == count_) {
      const int64_t left_ns = until_ns == 0 ? 0 : std::max<int64_t>(until_ns - MonotonicNanos(), 0);
      next_ = 0;
      count_ = mr_wait(client_, ended_.data(), ended_.size(), left_ns);
      taken_ns_ = MonotonicNanos();
      if (count_ == 0) return Idle(left_ns, until_ns);
    }
    return MakeDone(ended_[next_++]);
  }

 private:
  static std::string CodeName(int code) {
    return absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
  }

  // With nothing in flight mr_wait returns at once; an open loop still wants to be woken on time.
  std::optional<Done> Idle(int64_t left_ns, int64_t until_ns) {
    const int64_t still_ns = until_ns - MonotonicNanos();
    if (left_ns > 0 && still_ns > 0) {
      const timespec time = {still_ns / kNanosPerSecond, still_ns % kNanosPerSecond};
      ppoll(nullptr, 0, &time, nullptr);
    }
    return {};
  }

  absl::Status Prepare() {
    prepared_.clear();
    for (const GoldenRequest& golden : golden_.requests) {
      Prepared& prepared = prepared_.emplace_back();
      for (int i = 0; i < golden.request.inputs_size(); ++i) {
        const auto& input = golden.request.inputs(i);
        mr_tensor_info info;
        uint32_t place = 0;
        while (mr_input_info(model_, place, &info) == MR_OK && input.name() != info.name) ++place;
        if (place == mr_input_count(model_)) {
          return absl::InvalidArgumentError(absl::StrCat("the model has no input ", input.name()));
        }
        const std::string& raw = golden.request.raw_input_contents(i);
        uint32_t columns = 1;
        for (int d = 1; d < input.shape_size(); ++d)
          columns *= static_cast<uint32_t>(input.shape(d));
        const auto type = ParseDataType(input.datatype()).value_or(DataType::kInvalid);
        prepared.rows = static_cast<uint32_t>(input.shape(0));
        prepared.inputs.push_back({place, static_cast<int32_t>(type), columns, 0, raw.size()});
        prepared.data.push_back(&raw);
      }
      for (const auto& output : golden.request.outputs()) {
        mr_tensor_info info;
        for (uint32_t place = 0; mr_output_info(model_, place, &info) == MR_OK; ++place) {
          if (output.name() == info.name) prepared.outputs |= 1u << place;
        }
      }
    }
    return absl::OkStatus();
  }

  // What has ended with the connection is told before its client goes.
  void TakeEnded() {
    if (client_ == nullptr) return;
    do {
      while (next_ < count_) refused_.push_back(MakeDone(ended_[next_++]));
      next_ = 0;
      count_ = mr_wait(client_, ended_.data(), ended_.size(), 0);
    } while (count_ > 0);
  }

  // `again`: until the deadline, since the next ingress is being started.
  bool Reconnect(bool again) {
    const int64_t until_ns = MonotonicNanos() + options_.deadline_ms * kNanosPerMilli;
    while (!Connect().ok()) {
      if (!again || MonotonicNanos() > until_ns) return false;
      poll(nullptr, 0, kReconnectMs);
    }
    return true;
  }

  void Refused(int slot, std::string code, std::string sentence, bool may_retry) {
    Done done;
    done.slot = slot;
    done.done_ns = MonotonicNanos();
    done.code = std::move(code);
    done.sentence = std::move(sentence);
    done.may_retry = may_retry;
    refused_.push_back(std::move(done));
  }

  Done MakeDone(mr_request* request) {
    Done done;
    done.slot = static_cast<int>(reinterpret_cast<intptr_t>(mr_request_user(request)));
    done.done_ns = taken_ns_;
    const int code = mr_request_code(request);
    if (code == MR_OK) {
      done.outcome = Matches(golden_.requests[requests_[static_cast<size_t>(done.slot)]], request)
                         ? Outcome::kExpected
                         : Outcome::kMismatched;
    } else {
      done.code = mr_connected(client_) == 0 ? "LOST" : CodeName(code);
      done.sentence = mr_request_error(request);
      done.may_retry = code == MR_UNAVAILABLE;
    }
    mr_release(client_, request);
    return done;
  }

  static bool Matches(const GoldenRequest& golden, const mr_request* request) {
    if (golden.expected.empty()) return true;
    if (mr_result_count(request) != golden.expected.size()) return false;
    for (size_t i = 0; i < golden.expected.size(); ++i) {
      mr_tensor tensor;
      if (mr_result(request, i, &tensor) != MR_OK) return false;
      if (tensor.bytes != golden.expected[i].size() ||
          memcmp(tensor.data, golden.expected[i].data(), tensor.bytes) != 0) {
        return false;
      }
    }
    return true;
  }

  const GoldenSet& golden_;
  const TransportOptions options_;
  const int slots_;
  mr_client* client_ = nullptr;
  mr_model* model_ = nullptr;
  std::vector<Prepared> prepared_;
  std::vector<size_t> requests_;  // by slot
  std::vector<Done> refused_;
  std::vector<mr_request*> ended_;
  size_t next_ = 0, count_ = 0;
  int64_t taken_ns_ = 0;
};

// Metadata alone: enough to make requests from.
class LocalMetadataClient : public Client {
 public:
  LocalMetadataClient(const std::string& address, int64_t timeout_ms) : address_(address) {
    options_.struct_bytes = sizeof options_;
    options_.timeout_ns = timeout_ms * kNanosPerMilli;
  }
  ~LocalMetadataClient() override { mr_close(client_); }

  absl::StatusOr<inference::ModelMetadataResponse> Metadata(const std::string& name,
                                                            const std::string& version) override {
    if (client_ == nullptr) {
      const int code = mr_connect(address_.c_str(), &options_, &client_);
      if (code != MR_OK) return StatusOf(code, mr_error(nullptr));
    }
    mr_model* model = nullptr;
    const int code = mr_open_model(client_, name.c_str(), version.c_str(), &model);
    if (code != MR_OK) return StatusOf(code, mr_error(client_));
    inference::ModelMetadataResponse response;
    response.set_name(name);
    mr_tensor_info info;
    for (size_t i = 0; mr_input_info(model, i, &info) == MR_OK; ++i) {
      const std::string type(DataTypeName(static_cast<DataType>(info.datatype)));
      if (info.is_column != 0) {
        (*response.mutable_properties())[absl::StrCat("raw_column.", info.name)] =
            info.datatype == MR_BYTES ? "string" : "number";
      } else {
        Describe(info, type, response.add_inputs());
      }
    }
    for (size_t i = 0; mr_output_info(model, i, &info) == MR_OK; ++i) {
      Describe(info, std::string(DataTypeName(static_cast<DataType>(info.datatype))),
               response.add_outputs());
    }
    return response;
  }
  absl::StatusOr<inference::ModelInferResponse> Infer(
      const inference::ModelInferRequest&) override {
    return absl::UnimplementedError("a local client infers through its transport");
  }

 private:
  static void Describe(const mr_tensor_info& info, const std::string& type,
                       inference::ModelMetadataResponse::TensorMetadata* tensor) {
    tensor->set_name(info.name);
    tensor->set_datatype(type);
    tensor->add_shape(-1);
    for (size_t d = 0; d < info.rank; ++d) tensor->add_shape(info.dims[d]);
  }

  std::string address_;
  mr_options options_ = {};
  mr_client* client_ = nullptr;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> MakeLocalTransport(const GoldenSet& golden,
                                                              const TransportOptions& options,
                                                              int slots) {
  auto transport = std::make_unique<LocalTransport>(golden, options, slots);
  if (absl::Status s = transport->Connect(); !s.ok()) return s;
  return transport;
}

std::unique_ptr<Client> MakeLocalClient(const std::string& address, int64_t timeout_ms) {
  return std::make_unique<LocalMetadataClient>(address, timeout_ms);
}

}  // namespace millrace
