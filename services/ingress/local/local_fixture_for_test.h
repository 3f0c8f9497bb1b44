// A LocalRig, and one client of the C interface that it serves. Nothing outside tests uses it.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "ipc/client/millrace_client.h"
#include "services/ingress/local/local_rig.h"

namespace millrace {

inline constexpr int64_t kForEver = -1;

class LocalServerTest : public ::testing::Test {
 protected:
  static LocalOptions FewPlaces() {
    LocalOptions options;
    options.in_flight = 8;
    options.max_clients = 3;
    return options;
  }
  ~LocalServerTest() override { mr_close(client_); }

  void Connect(int wait_mode = MR_WAIT_YIELD) {
    mr_options options = {};
    options.struct_bytes = sizeof options;
    options.wait_mode = wait_mode;
    ASSERT_EQ(mr_connect(rig_.path().c_str(), &options, &client_), MR_OK) << mr_error(nullptr);
    ASSERT_EQ(mr_open_model(client_, "plain", "", &plain_), MR_OK) << mr_error(client_);
  }
  mr_request* Begin(float value, uint32_t rows = 1) {
    mr_request* request = nullptr;
    EXPECT_EQ(mr_begin(client_, plain_, rows, nullptr, 0, &request), MR_OK) << mr_error(client_);
    if (request == nullptr) return nullptr;
    uint64_t bytes = 0;
    auto* data = static_cast<float*>(mr_input_data(request, 0, &bytes));
    EXPECT_EQ(bytes, rows * 3 * sizeof(float));
    for (size_t i = 0; i < rows * 3; ++i) data[i] = value;
    return request;
  }
  // The only output of "plain" is its input's echo, named "prediction".
  void AnswerWithTheInput(FakeFrontend::Mode mode = FakeFrontend::Mode::kInline) {
    rig_.Do([mode](FakeFrontend& frontend, LocalServer&) {
      frontend.set_mode(mode);
      frontend.set_answerer([](const FakeRequest& request) {
        FakeTensor tensor = request.inputs[0];
        tensor.name = "prediction";
        return FakeAnswer{absl::OkStatus(), request.model, "2", {tensor}};
      });
    });
  }
  static std::vector<float> Values(const mr_request* request) {
    mr_tensor tensor;
    if (mr_result(request, 0, &tensor) != MR_OK) return {};
    const auto* data = static_cast<const float*>(tensor.data);
    return std::vector<float>(data, data + tensor.bytes / sizeof(float));
  }

  LocalRig rig_{FewPlaces()};
  mr_client* client_ = nullptr;
  mr_model* plain_ = nullptr;
};

}  // namespace millrace
