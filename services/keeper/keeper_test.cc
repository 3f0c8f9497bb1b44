// The keeper as a real process, with a supervisor that does what the test wants.
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "ipc/fd.h"

namespace millrace {
namespace {

class KeeperTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = "/tmp/mr-keeper-XXXXXX";
    ASSERT_NE(mkdtemp(dir_.data()), nullptr);
  }
  void TearDown() override {
    if (keeper_ > 0) kill(keeper_, SIGKILL), waitpid(keeper_, nullptr, 0);
    EXPECT_EQ(system(("rm -rf " + dir_).c_str()), 0);
  }

  void Start(const std::string& what, const std::string& listen = "grpc=127.0.0.1:0",
             const std::string& next = "serve") {
    const std::vector<std::string> arguments = {"services/keeper/keeper",
                                                "--listen=" + listen,
                                                "--supervisor=services/keeper/test_supervisor",
                                                "--",
                                                what,
                                                dir_ + "/said",
                                                next};
    keeper_ = fork();
    if (keeper_ > 0) return;
    const int log = open((dir_ + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(log, STDERR_FILENO);
    std::vector<char*> argv;
    for (const std::string& argument : arguments) {
      argv.push_back(const_cast<char*>(argument.c_str()));
    }
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }

  int Wait() {
    int status = 0;
    waitpid(keeper_, &status, 0);
    keeper_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  std::string Text(const std::string& name) const {
    std::ifstream file(dir_ + "/" + name);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  bool Said(const std::string& text) const {
    for (int i = 0; i < 2000; ++i) {
      if (Text("said").find(text) != std::string::npos) return true;
      usleep(5'000);
    }
    return false;
  }

  pid_t NumberAfter(const std::string& word) const {
    const std::string text = Text("said");
    const size_t at = text.rfind(word);
    return at == std::string::npos ? 0 : atoi(text.c_str() + at + word.size());
  }

  std::string dir_;
  pid_t keeper_ = 0;
};

TEST_F(KeeperTest, HandsOverListenersAndStopsWithItsSupervisor) {
  Start("serve");
  ASSERT_TRUE(Said("waiting"));
  EXPECT_TRUE(Said("start 1 kept 0 restarts 0 listeners 1 listening 1 open 0 nothing 1"));
  EXPECT_NE(Text("log").find("event=listening name=grpc address=127.0.0.1:"), std::string::npos);
  EXPECT_EQ(Text("log").find("127.0.0.1:0 "), std::string::npos);
  kill(keeper_, SIGHUP);
  EXPECT_TRUE(Said("signal 1\n"));
  kill(keeper_, SIGTERM);
  EXPECT_EQ(Wait(), 0);
  EXPECT_TRUE(Said("signal 15\n"));
}

TEST_F(KeeperTest, ReplacesAKilledSupervisorAndGivesBackWhatWasStored) {
  Start("serve");
  ASSERT_TRUE(Said("waiting"));
  kill(NumberAfter("waiting "), SIGKILL);
  EXPECT_TRUE(Said("start 2 kept 1 restarts 1 listeners 1 listening 1"));
  ASSERT_TRUE(Said("start 2"));
}

TEST_F(KeeperTest, ASupervisorThatIsStoppedIsReplacedAndOneThatGoesOnIsNot) {
  Start("serve");
  ASSERT_TRUE(Said("waiting"));
  const pid_t first = NumberAfter("waiting ");
  kill(first, SIGSTOP);
  kill(first, SIGCONT);
  kill(first, SIGHUP);
  EXPECT_TRUE(Said("signal 1\n")) << "it lives";
  kill(first, SIGSTOP);
  EXPECT_TRUE(Said("start 2 kept 1 restarts 1 listeners 1 listening 1"));
  EXPECT_NE(Text("log").find("event=supervisor_ended code=1 signal=9"), std::string::npos);
}

TEST_F(KeeperTest, ASupervisorThatDiesAtOnceIsStartedLessAndLessOften) {
  Start("crash");
  usleep(1'000'000);
  kill(keeper_, SIGTERM);
  Wait();
  // Starts at about 0, 0.1, 0.3 and 0.7 seconds.
  const int starts = NumberAfter("start ");
  EXPECT_GE(starts, 2);
  EXPECT_LE(starts, 4);
}

TEST_F(KeeperTest, CodesThatWouldComeAgainEndItAndOthersDoNot) {
  Start("exit 65");
  EXPECT_EQ(Wait(), 65);
  Start("exit 0");
  EXPECT_EQ(Wait(), 0);
  Start("exit 1");
  EXPECT_TRUE(Said("restarts 2 ")) << "an internal fault is tried again";
}

TEST_F(KeeperTest, WhatADeadSupervisorLeavesIsKilledOnceTheNextHasTakenOver) {
  Start("orphan");
  ASSERT_TRUE(Said("waiting"));
  ASSERT_TRUE(Said("orphan"));
  const pid_t orphan = NumberAfter("orphan ");
  ASSERT_EQ(kill(orphan, 0), 0);
  const pid_t first = NumberAfter("waiting ");
  kill(first, SIGKILL);
  ASSERT_TRUE(Said("restarts 1 "));
  for (int i = 0; i < 2000 && NumberAfter("waiting ") == first; ++i) usleep(5'000);
  EXPECT_EQ(kill(orphan, 0), 0) << "the next one may know it";
  kill(keeper_, SIGHUP);  // which the supervisor of this test answers with Spare, of nobody
  for (int i = 0; i < 2000 && kill(orphan, 0) == 0; ++i) usleep(5'000);
  EXPECT_NE(kill(orphan, 0), 0);
}

TEST_F(KeeperTest, WhoeverCannotTakeOverThreeTimesFindsNothingThatLives) {
  Start("crash");
  ASSERT_TRUE(Said("start 2 kept 1 restarts 1 listeners 1 listening 1 open 0 nothing 1"));
  ASSERT_TRUE(Said("restarts 3 "));
  ASSERT_TRUE(Said("restarts 3 listeners 1 listening 1 open 0 nothing 1"));
  EXPECT_NE(Text("log").find("event=cannot_be_adopted after=3"), std::string::npos);
}

// A SIGKILL comes from outside: it says nothing of what there is to take over.
TEST_F(KeeperTest, WhoeverIsKilledBeforeItHasTakenOverIsNoReasonToGiveUp) {
  Start("orphan");
  ASSERT_TRUE(Said("orphan"));
  const pid_t orphan = NumberAfter("orphan ");
  pid_t last = 0;
  for (int i = 0; i < 4; ++i) {
    for (int t = 0; t < 2000 && NumberAfter("waiting ") == last; ++t) usleep(5'000);
    last = NumberAfter("waiting ");
    ASSERT_GT(last, 0);
    kill(last, SIGKILL);
  }
  ASSERT_TRUE(Said("restarts 4 "));
  EXPECT_EQ(kill(orphan, 0), 0);
  EXPECT_EQ(Text("log").find("event=cannot_be_adopted"), std::string::npos);
}

TEST_F(KeeperTest, AStopThatTakesTooLongOrASecondSignalKills) {
  Start("deaf");
  ASSERT_TRUE(Said("waiting"));
  kill(keeper_, SIGTERM);
  EXPECT_EQ(Wait(), 1) << "the supervisor allowed 300 ms";
  EXPECT_NE(kill(NumberAfter("waiting "), 0), 0);
  unlink((dir_ + "/said").c_str());
  Start("deaf");
  ASSERT_TRUE(Said("waiting"));
  kill(keeper_, SIGTERM);
  kill(keeper_, SIGINT);
  EXPECT_EQ(Wait(), 1);
}

TEST_F(KeeperTest, AStopBetweenTwoSupervisorsIsHandedToTheNext) {
  Start("serve");
  ASSERT_TRUE(Said("waiting"));
  const pid_t first = NumberAfter("waiting ");
  kill(keeper_, SIGHUP);  // Spare: from now on there is something to drain
  ASSERT_TRUE(Said("signal 1\n"));
  kill(first, SIGKILL);
  // In its back-off, since it did not live for a second.
  for (int i = 0; i < 2000 && kill(first, 0) == 0; ++i) usleep(1'000);
  kill(keeper_, SIGTERM);
  EXPECT_TRUE(
      Said("start 2 kept 1 restarts 1 listeners 1 listening 1 open 0 nothing 0 role 0 stop 1"));
  for (int i = 0; i < 2000 && NumberAfter("waiting ") == first; ++i) usleep(5'000);
  kill(NumberAfter("waiting "), SIGTERM);  // as one that has drained
  EXPECT_EQ(Wait(), 0);
}

TEST_F(KeeperTest, ACandidateThatIsReadyTakesOver) {
  Start("serve", "grpc=127.0.0.1:0", "ready");
  ASSERT_TRUE(Said("waiting"));
  const pid_t first = NumberAfter("waiting ");
  kill(first, SIGUSR1);
  // A store of its own, the same sockets.
  ASSERT_TRUE(Said("start 1 kept 0 restarts 0 listeners 1 listening 1 open 0 nothing 1 role 1"));
  ASSERT_TRUE(Said("promoted"));
  ASSERT_TRUE(Said("retired " + std::to_string(first)));
  const pid_t next = NumberAfter("promoted ");
  EXPECT_NE(next, first);
  for (int i = 0; i < 2000 && kill(first, 0) == 0; ++i) usleep(5'000);
  // From now on it is replaced as the first one was.
  kill(next, SIGKILL);
  EXPECT_TRUE(Said("start 2 kept 1 restarts 1 listeners 1 listening 1 open 0 nothing 1 role 0"));
  for (int i = 0; i < 2000 && NumberAfter("waiting ") == next; ++i) usleep(5'000);
  kill(keeper_, SIGTERM);
  EXPECT_EQ(Wait(), 0);
}

TEST_F(KeeperTest, ACandidateThatFailsIsTakenAwayAndTheOldOneGoesOn) {
  const std::pair<std::string, std::string> kinds[] = {
      {"serve", "failed: the new build did not get ready in time"},
      {"exit 0", "failed: the new build's supervisor ended with exit code 0\n"},
      {"exit 65", "failed: the new build's supervisor ended with exit code 65\n"},
      {"crash", "failed: the new build's supervisor ended with signal 6\n"}};
  for (const auto& [what, why] : kinds) {
    unlink((dir_ + "/said").c_str());
    Start("serve", "grpc=127.0.0.1:0", what);
    ASSERT_TRUE(Said("waiting"));
    const pid_t first = NumberAfter("waiting ");
    kill(first, SIGUSR1);
    EXPECT_TRUE(Said(why)) << what << Text("said");
    const pid_t candidate = NumberAfter("waiting ");
    if (candidate != first) {
      for (int i = 0; i < 2000 && kill(candidate, 0) == 0; ++i) usleep(5'000);
      EXPECT_NE(kill(candidate, 0), 0);
    }
    EXPECT_EQ(kill(first, 0), 0);
    kill(keeper_, SIGTERM);
    EXPECT_EQ(Wait(), 0);
  }
}

TEST_F(KeeperTest, TheOldOneMayDieWhileACandidateStarts) {
  Start("serve", "grpc=127.0.0.1:0", "serve");
  ASSERT_TRUE(Said("waiting"));
  const pid_t first = NumberAfter("waiting ");
  kill(first, SIGUSR1);
  ASSERT_TRUE(Said("role 1"));
  kill(first, SIGKILL);
  ASSERT_TRUE(Said("restarts 1 listeners 1 listening 1 open 0 nothing 1 role 0"));
  EXPECT_TRUE(Said("failed: ")) << "its successor is told";
  kill(keeper_, SIGTERM);
  EXPECT_EQ(Wait(), 0);
}

TEST_F(KeeperTest, TellsOfWhatItCannotDo) {
  Start("serve", "grpc=nonsense");
  EXPECT_EQ(Wait(), 66);
  Start("serve", "grpc");
  EXPECT_EQ(Wait(), 64);
}

}  // namespace
}  // namespace millrace
