// A Frontend that allocates nothing, for tests of what the protocol adapters allocate.
//
// Purpose: answers each request with one tensor that lies there already, from Poll, as the lane
//   does. Who may call: one thread (the adapter's). Invariants: 1. one request at a time, of one
//   FP32 tensor of three columns. 2. nothing is allocated but by what `seen` does.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/check.h"
#include "services/ingress/frontend.h"

namespace millrace {

class QuietFrontend final : public Frontend {
 public:
  // `seen` is called for each request.
  explicit QuietFrontend(
      int rows, std::function<void()> seen = [] {},
      std::shared_ptr<const Catalog> catalog = nullptr)
      : raw_(rows * sizeof(float), 'a'),
        shape_{rows, 1},
        seen_(std::move(seen)),
        catalog_(std::move(catalog)) {}

  InferAnswer answer() const { return {absl::OkStatus(), "plain", "2", output_}; }

  RequestId Infer(const InferRequest& request, Completion* completion) override {
    MR_CHECK(request.inputs.size() == 1 && waiting_ == nullptr, "one request of one tensor");
    MR_CHECK(request.inputs[0].raw.size() == 3 * raw_.size(), "the tensor is whole");
    seen_();
    waiting_ = completion;
    return 1;
  }
  // How many were answered.
  size_t Poll() {
    if (waiting_ == nullptr) return 0;
    std::exchange(waiting_, nullptr)->Done(answer());
    return 1;
  }

  void Cancel(RequestId) override {}
  std::shared_ptr<const Catalog> catalog() const override { return catalog_; }
  bool ServerReady() const override { return true; }
  absl::Status ModelReady(std::string_view, std::string_view) const override {
    return absl::OkStatus();
  }
  std::vector<ModelStatistic> Statistics(std::string_view, std::string_view) const override {
    return {};
  }
  void ChangeModel(const ModelChange&, ChangeDone) override {}

 private:
  const std::string raw_;
  const int64_t shape_[2];
  const TensorView output_[1] = {{"prediction", DataType::kFp32, shape_, raw_}};
  const std::function<void()> seen_;
  const std::shared_ptr<const Catalog> catalog_;
  Completion* waiting_ = nullptr;
};

}  // namespace millrace
