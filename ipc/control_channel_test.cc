#include "ipc/control_channel.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/control.pb.h"
#include "ipc/memfd.h"
#include "ipc/testing/must.h"

namespace millrace {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class ControlChannelTest : public ::testing::Test {
 protected:
  ControlChannelTest() {
    auto [a, b] = Must(ControlChannel::MakePair());
    a_ = ControlChannel(std::move(a));
    b_ = ControlChannel(std::move(b));
  }
  static ToProcess Gone(uint32_t incarnation) {
    ToProcess message;
    message.mutable_peer_gone()->set_incarnation(incarnation);
    return message;
  }
  // Sends bytes and descriptors past the channel's own limits.
  bool SendRaw(const std::string& bytes, int fds) {
    std::vector<char> space(CMSG_SPACE(sizeof(int) * fds));
    iovec part = {const_cast<char*>(bytes.data()), bytes.size()};
    msghdr header = {};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (fds > 0) {
      header.msg_control = space.data();
      header.msg_controllen = space.size();
      cmsghdr* c = CMSG_FIRSTHDR(&header);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(sizeof(int) * fds);
      for (int i = 0; i < fds; ++i) reinterpret_cast<int*>(CMSG_DATA(c))[i] = a_.fd();
    }
    return sendmsg(a_.fd(), &header, MSG_NOSIGNAL) >= 0;
  }
  int OpenFds() {
    int count = 0;
    for (int fd = 0; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) >= 0;
    return count;
  }

  ControlChannel a_, b_;
  ToProcess got_;
  std::vector<Fd> fds_;
};

TEST_F(ControlChannelTest, PacketsAreWholeAndInOrder) {
  EXPECT_FALSE(Must(b_.Receive(&got_, &fds_)));
  ASSERT_TRUE(a_.Send(Gone(1)).ok());
  ASSERT_TRUE(a_.Send(Gone(2)).ok());
  ASSERT_TRUE(Must(b_.Receive(&got_, &fds_)));
  EXPECT_EQ(got_.peer_gone().incarnation(), 1u);
  EXPECT_THAT(fds_, IsEmpty());
  ASSERT_TRUE(Must(b_.Receive(&got_, &fds_)));
  EXPECT_EQ(got_.peer_gone().incarnation(), 2u);
  EXPECT_FALSE(Must(b_.Receive(&got_, &fds_)));
}

TEST_F(ControlChannelTest, DescriptorsComeInOrderAndAreClosedOnExec) {
  const Fd one = Must(MakeSealedCopy("one", "1", 1)), two = Must(MakeSealedCopy("two", "22", 2));
  ASSERT_TRUE(a_.Send(Gone(1), {one.get(), two.get()}).ok());
  ASSERT_TRUE(Must(b_.Receive(&got_, &fds_)));
  ASSERT_THAT(fds_, SizeIs(2));
  for (size_t i = 0; i < 2; ++i) {
    struct stat info;
    ASSERT_EQ(fstat(fds_[i].get(), &info), 0);
    EXPECT_EQ(info.st_size, static_cast<off_t>(i + 1));
    EXPECT_EQ(fcntl(fds_[i].get(), F_GETFD), FD_CLOEXEC);
  }
  EXPECT_TRUE(one.valid());  // the sender's stays the sender's
  // The next packet does not keep them.
  ASSERT_TRUE(a_.Send(Gone(2)).ok());
  ASSERT_TRUE(Must(b_.Receive(&got_, &fds_)));
  EXPECT_THAT(fds_, IsEmpty());
}

TEST_F(ControlChannelTest, TheLargestPacketPassesAndALargerIsRefusedHere) {
  ToProcess message;
  std::string* text = message.mutable_configure()->mutable_config_yaml();
  text->assign(ControlChannel::kMaxBytes - 100, 'x');
  const std::vector<int> most(ControlChannel::kMaxFds, a_.fd());
  ASSERT_TRUE(a_.Send(message, most).ok());
  ASSERT_TRUE(Must(b_.Receive(&got_, &fds_)));
  EXPECT_EQ(got_.configure().config_yaml(), *text);
  EXPECT_THAT(fds_, SizeIs(ControlChannel::kMaxFds));
  text->append(200, 'x');
  EXPECT_TRUE(absl::IsInvalidArgument(a_.Send(message)));
  const std::vector<int> more(ControlChannel::kMaxFds + 1, a_.fd());
  EXPECT_TRUE(absl::IsInvalidArgument(a_.Send(Gone(1), more)));
  EXPECT_FALSE(Must(b_.Receive(&got_, &fds_)));
}

TEST_F(ControlChannelTest, AFullSocketIsSaidNotWaitedFor) {
  absl::Status status;
  int sent = 0;
  while ((status = a_.Send(Gone(sent))).ok()) ASSERT_LT(++sent, 1'000'000);
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  for (int i = 0; i < sent; ++i) ASSERT_TRUE(Must(b_.Receive(&got_, &fds_)));
  EXPECT_TRUE(a_.Send(Gone(1)).ok());
}

TEST_F(ControlChannelTest, TheEndIsSaidAfterWhatWasSent) {
  ASSERT_TRUE(a_.Send(Gone(5)).ok());
  a_ = ControlChannel();
  ASSERT_TRUE(Must(b_.Receive(&got_, &fds_)));
  EXPECT_EQ(got_.peer_gone().incarnation(), 5u);
  EXPECT_TRUE(absl::IsUnavailable(b_.Receive(&got_, &fds_).status()));
  EXPECT_TRUE(absl::IsUnavailable(b_.Send(Gone(1))));  // and no SIGPIPE
}

TEST_F(ControlChannelTest, WhatCannotBeParsedIsRefusedAndTheNextIsRead) {
  ASSERT_TRUE(SendRaw("\xff\xff\xff", 1));
  ASSERT_TRUE(a_.Send(Gone(3)).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(b_.Receive(&got_, &fds_).status()));
  ASSERT_TRUE(Must(b_.Receive(&got_, &fds_)));
  EXPECT_EQ(got_.peer_gone().incarnation(), 3u);
}

TEST_F(ControlChannelTest, WhatWasCutIsRefusedAndItsDescriptorsAreClosed) {
  const int before = OpenFds();
  const std::string bytes = Gone(3).SerializeAsString();
  ASSERT_TRUE(SendRaw(bytes, 253));  // the kernel's most, over ours
  EXPECT_TRUE(absl::IsInvalidArgument(b_.Receive(&got_, &fds_).status()));
  fds_.clear();
  EXPECT_EQ(OpenFds(), before);
  ASSERT_TRUE(SendRaw(std::string(ControlChannel::kMaxBytes + 1, 'x'), 2));
  EXPECT_TRUE(absl::IsInvalidArgument(b_.Receive(&got_, &fds_).status()));
  fds_.clear();
  EXPECT_EQ(OpenFds(), before);
}

}  // namespace
}  // namespace millrace
