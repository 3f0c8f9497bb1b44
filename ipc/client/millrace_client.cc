// The C interface over ipc/client/moving_client.h: no exception and no C++ type passes it.
#include "ipc/client/millrace_client.h"

#include <algorithm>
#include <new>

#include "ipc/client/moving_client.h"
#include "ipc/copy_pieces.h"

struct mr_client {
  std::unique_ptr<millrace::MovingClient> client;
};

namespace {

thread_local std::string connect_error;

// What a newer caller's struct says beyond ours is not read, what an older one's lacks is 0.
template <typename T>
T OptionsOf(const T* given) {
  T options = {};
  if (given != nullptr) {
    // Word by word: it was filled in just now.
    millrace::CopyPieces(&options, given,
                         std::min(given->struct_bytes, sizeof options) / sizeof(uint32_t));
  }
  return options;
}

int Told(mr_client* client, const absl::Status& status) {
  if (!status.ok()) client->client->error() = std::string(status.message());
  return static_cast<int>(status.code());
}

void Describe(const mr_model::Tensor& tensor, mr_tensor_info* info) {
  info->name = tensor.name.c_str();
  info->datatype = static_cast<int>(tensor.datatype);
  info->is_column = tensor.column ? 1 : 0;
  info->rank = tensor.dims.size();
  info->dims = tensor.dims.data();
}

}  // namespace

extern "C" {

int mr_abi(void) { return MR_CLIENT_ABI; }

int mr_connect(const char* path, const mr_options* options, mr_client** client) {
  *client = nullptr;
  try {
    auto connected =
        millrace::MovingClient::Connect(path == nullptr ? "" : path, OptionsOf(options));
    if (!connected.ok()) {
      connect_error = std::string(connected.status().message());
      return static_cast<int>(connected.status().code());
    }
    *client = new mr_client{std::move(*connected)};
    return MR_OK;
  } catch (const std::bad_alloc&) {
    connect_error = "no memory";
    return MR_RESOURCE_EXHAUSTED;
  }
}

void mr_close(mr_client* client) { delete client; }

const char* mr_error(const mr_client* client) {
  return client == nullptr ? connect_error.c_str() : client->client->error().c_str();
}

int mr_connected(const mr_client* client) { return client->client->connected() ? 1 : 0; }

size_t mr_places(const mr_client* client) { return client->client->places(); }

int mr_open_model(mr_client* client, const char* name, const char* version, mr_model** model) {
  *model = nullptr;
  auto opened = client->client->OpenModel(name, version == nullptr ? "" : version);
  if (opened.ok()) *model = *opened;
  return Told(client, opened.status());
}

size_t mr_input_count(const mr_model* model) { return model->inputs.size(); }
size_t mr_output_count(const mr_model* model) { return model->outputs.size(); }
uint32_t mr_max_rows(const mr_model* model) { return model->max_rows; }

int mr_input_info(const mr_model* model, size_t place, mr_tensor_info* info) {
  if (place >= model->inputs.size()) return MR_INVALID_ARGUMENT;
  Describe(model->inputs[place], info);
  return MR_OK;
}

int mr_output_info(const mr_model* model, size_t place, mr_tensor_info* info) {
  if (place >= model->outputs.size()) return MR_INVALID_ARGUMENT;
  Describe(model->outputs[place], info);
  return MR_OK;
}

int mr_begin(mr_client* client, mr_model* model, uint32_t rows, const mr_input* inputs,
             size_t count, mr_request** request) {
  *request = nullptr;
  auto begun = client->client->Begin(model, rows, {inputs, count});
  if (!begun.ok()) return Told(client, begun.status());
  *request = *begun;
  return MR_OK;
}

void* mr_input_data(mr_request* request, size_t i, uint64_t* bytes) {
  const bool known = request->state == mr_request::State::kBegun && i < request->inputs.size();
  if (bytes != nullptr) *bytes = known ? request->inputs[i].second : 0;
  return known ? request->inputs[i].first : nullptr;
}

int mr_submit(mr_client* client, mr_request* request, const mr_submit_options* options) {
  const absl::Status sent = client->client->Submit(request, OptionsOf(options));
  return sent.ok() ? MR_OK : Told(client, sent);
}

void mr_flush(mr_client* client) { client->client->Flush(); }

size_t mr_wait(mr_client* client, mr_request** ended, size_t most, int64_t timeout_ns) {
  return client->client->Wait(ended, most, timeout_ns);
}

int mr_cancel(mr_client* client, mr_request* request) {
  client->client->Cancel(request);
  client->client->Flush();
  return MR_OK;
}

int mr_infer(mr_client* client, mr_request* request, const mr_submit_options* options) {
  return client->client->Infer(request, OptionsOf(options));
}

int mr_request_code(const mr_request* request) { return request->code; }

const char* mr_request_error(const mr_request* request) {
  return request->code == MR_OK ? "" : request->error.c_str();
}

void* mr_request_user(const mr_request* request) { return request->user; }
uint32_t mr_request_version(const mr_request* request) { return request->version; }
size_t mr_result_count(const mr_request* request) { return request->results.size(); }

int mr_result(const mr_request* request, size_t i, mr_tensor* tensor) {
  if (i >= request->results.size()) return MR_INVALID_ARGUMENT;
  const millrace::PackTensor& result = request->results[i];
  tensor->name = request->model->outputs[result.name].name.c_str();
  tensor->datatype = static_cast<int>(result.datatype);
  tensor->rows = request->rows;
  tensor->columns = result.columns;
  tensor->data = result.data.data();
  tensor->bytes = result.data.size();
  return MR_OK;
}

void mr_release(mr_client* client, mr_request* request) { client->client->Release(request); }

}  // extern "C"
