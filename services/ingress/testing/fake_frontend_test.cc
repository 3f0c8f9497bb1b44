#include "services/ingress/testing/fake_frontend.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

struct Recorder : Completion {
  void Done(const InferAnswer& answer) override {
    ++calls;
    status = answer.status;
    for (const TensorView& output : answer.outputs) raws.emplace_back(output.raw);
  }
  int calls = 0;
  absl::Status status;
  std::vector<std::string> raws;
};

RequestId Ask(FakeFrontend* frontend, Recorder* recorder) {
  const int64_t shape[] = {2};
  const TensorView input{"x", DataType::kUint8, shape, "ab"};
  return frontend->Infer({"plain", "", {&input, 1}, {}, 0, 0}, recorder);
}

TEST(FakeFrontend, InlineAnswersInsideInfer) {
  FakeFrontend frontend;
  Recorder recorder;
  EXPECT_EQ(Ask(&frontend, &recorder), 0u);
  EXPECT_EQ(recorder.calls, 1);
  EXPECT_EQ(recorder.raws, std::vector<std::string>{"ab"});
  ASSERT_EQ(frontend.seen().size(), 1u);
  EXPECT_EQ(frontend.seen()[0].inputs[0].name, "x");
}

TEST(FakeFrontend, PollAnswersOnce) {
  FakeFrontend frontend;
  frontend.set_mode(FakeFrontend::Mode::kPoll);
  Recorder recorder;
  EXPECT_NE(Ask(&frontend, &recorder), 0u);
  EXPECT_EQ(recorder.calls, 0);
  EXPECT_EQ(frontend.Poll(), 1u);
  EXPECT_EQ(frontend.Poll(), 0u);
  EXPECT_EQ(recorder.calls, 1);
}

TEST(FakeFrontend, HoldWaitsForReleaseAndCancelWins) {
  FakeFrontend frontend;
  frontend.set_mode(FakeFrontend::Mode::kHold);
  Recorder kept;
  Recorder dropped;
  const RequestId keep = Ask(&frontend, &kept);
  const RequestId drop = Ask(&frontend, &dropped);
  EXPECT_EQ(frontend.Poll(), 0u);
  frontend.Cancel(drop);
  frontend.Cancel(12345);
  EXPECT_EQ(frontend.Poll(), 1u);
  EXPECT_TRUE(absl::IsCancelled(dropped.status));
  frontend.Release(keep);
  EXPECT_EQ(frontend.Poll(), 1u);
  EXPECT_TRUE(kept.status.ok());
  EXPECT_EQ(frontend.in_flight(), 0u);
}

TEST(FakeFrontend, ModelReadySpeaksOfTheCatalog) {
  FakeFrontend frontend;
  EXPECT_TRUE(frontend.ModelReady("plain", "").ok());
  EXPECT_TRUE(frontend.ModelReady("plain", "1").ok());
  EXPECT_TRUE(absl::IsNotFound(frontend.ModelReady("plain", "3")));
  EXPECT_TRUE(absl::IsNotFound(frontend.ModelReady("nobody", "")));
  frontend.set_ready(false);
  EXPECT_TRUE(absl::IsUnavailable(frontend.ModelReady("plain", "")));
}

}  // namespace
}  // namespace millrace
