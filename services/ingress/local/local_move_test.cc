// Clients that are told to connect again, to the next process, and lose nothing by it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "services/ingress/local/local_fixture_for_test.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// Which of two servers answered shows in the version.
void AnswerAs(LocalRig& rig, const std::string& version, FakeFrontend::Mode mode) {
  rig.Do([&](FakeFrontend& frontend, LocalServer&) {
    frontend.set_mode(mode);
    frontend.set_answerer([version](const FakeRequest& request) {
      FakeTensor tensor = request.inputs[0];
      tensor.name = "prediction";
      return FakeAnswer{absl::OkStatus(), request.model, version, {tensor}};
    });
  });
}

TEST_F(LocalServerTest, AClientFollowsToTheNextServerAndLosesNothing) {
  AnswerAs(rig_, "2", FakeFrontend::Mode::kHold);
  Connect();
  mr_request* flying = Begin(1);
  ASSERT_EQ(mr_submit(client_, flying, nullptr), MR_OK);
  mr_request* begun = Begin(2);
  mr_flush(client_);
  rig_.WaitUntil([](FakeFrontend& frontend, LocalServer&) { return frontend.in_flight() == 1; });
  rig_.Do([](FakeFrontend&, LocalServer& server) { server.Move(); });
  LocalRig next(FewPlaces(), rig_);
  AnswerAs(next, "3", FakeFrontend::Mode::kInline);
  mr_request* moved = Begin(3);
  ASSERT_EQ(mr_infer(client_, moved, nullptr), MR_OK) << mr_error(client_);
  EXPECT_EQ(mr_request_version(moved), 3u);
  EXPECT_THAT(Values(moved), ElementsAre(3, 3, 3));
  // What was begun before stays where it is, and comes out of the same wait.
  ASSERT_EQ(mr_submit(client_, begun, nullptr), MR_OK);
  mr_flush(client_);
  rig_.WaitUntil([](FakeFrontend& frontend, LocalServer&) { return frontend.in_flight() == 2; });
  rig_.Do([](FakeFrontend& frontend, LocalServer& server) {
    EXPECT_FALSE(server.drained());
    frontend.ReleaseAll();
  });
  for (int i = 0; i < 2; ++i) {
    mr_request* ended = nullptr;
    ASSERT_EQ(mr_wait(client_, &ended, 1, kForEver), 1u);
    EXPECT_EQ(mr_request_version(ended), 2u);
    EXPECT_THAT(Values(ended), SizeIs(3));
    rig_.Do([](FakeFrontend&, LocalServer& server) { EXPECT_FALSE(server.drained()); });
    mr_release(client_, ended);
  }
  rig_.WaitUntil([](FakeFrontend&, LocalServer& server) { return server.drained(); });
  EXPECT_THAT(Values(moved), ElementsAre(3, 3, 3));
  mr_release(client_, moved);
  EXPECT_EQ(mr_connected(client_), 1);
}

TEST_F(LocalServerTest, AnIdleClientFollowsAlsoOnceTheOldServerHasEnded) {
  AnswerAs(rig_, "2", FakeFrontend::Mode::kInline);
  Connect();
  mr_request* first = Begin(1);
  ASSERT_EQ(mr_infer(client_, first, nullptr), MR_OK);
  rig_.Do([](FakeFrontend&, LocalServer& server) { server.Move(); });
  rig_.EndServer();
  EXPECT_EQ(mr_connected(client_), 1);
  LocalRig next(FewPlaces(), rig_);
  AnswerAs(next, "3", FakeFrontend::Mode::kInline);
  mr_request* moved = Begin(3);
  ASSERT_EQ(mr_infer(client_, moved, nullptr), MR_OK) << mr_error(client_);
  EXPECT_EQ(mr_request_version(moved), 3u);
  EXPECT_THAT(Values(first), ElementsAre(1, 1, 1)) << "what was read before stays";
  mr_release(client_, first);
  mr_release(client_, moved);
}

TEST_F(LocalServerTest, AModelThatIsAnotherAtTheNextServerIsRefusedUntilItIsOpenedAgain) {
  AnswerAs(rig_, "2", FakeFrontend::Mode::kInline);
  Connect();
  rig_.Do([](FakeFrontend&, LocalServer& server) { server.Move(); });
  LocalRig next(FewPlaces(), rig_);
  AnswerAs(next, "3", FakeFrontend::Mode::kInline);
  next.Do([](FakeFrontend& frontend, LocalServer&) {
    auto catalog = std::make_shared<Catalog>(*frontend.catalog());
    for (Model& model : *catalog->mutable_models()) {
      if (model.name() == "plain") model.mutable_inputs(0)->set_name("renamed");
    }
    frontend.set_catalog(catalog);
  });
  mr_request* request = nullptr;
  EXPECT_EQ(mr_begin(client_, plain_, 1, nullptr, 0, &request), MR_FAILED_PRECONDITION);
  EXPECT_THAT(mr_error(client_), HasSubstr("signature of plain is another now"));
  ASSERT_EQ(mr_open_model(client_, "plain", "", &plain_), MR_OK);
  request = Begin(4);
  EXPECT_EQ(mr_infer(client_, request, nullptr), MR_OK) << mr_error(client_);
  mr_release(client_, request);
}

}  // namespace
}  // namespace millrace
