#include "tools/bench/subjects/paused_server.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace millrace {
namespace {

char StateOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string number, name;
  char state = 0;
  file >> number >> name >> state;
  return state;
}

TEST(PausedServerTest, AllOfASessionStopAndGoOnAndNobodyElseDoes) {
  const pid_t leader = fork();
  if (leader == 0) {
    setsid();
    fork();  // both wait
    for (;;) pause();
  }
  const pid_t other = fork();
  if (other == 0) {
    for (;;) pause();
  }
  while (ProcessesOfSession(leader).size() < 2) usleep(1000);
  const std::vector<pid_t> pids = ProcessesOfSession(leader);
  EXPECT_EQ(pids.front(), leader);

  PausedServer(leader).Pause();
  for (const pid_t pid : pids) EXPECT_EQ(StateOf(pid), 'T');
  EXPECT_NE(StateOf(other), 'T');
  PausedServer(leader).Resume();
  for (const pid_t pid : pids) {
    while (StateOf(pid) == 'T') usleep(1000);
  }

  for (const pid_t pid : pids) kill(pid, SIGKILL);
  kill(other, SIGKILL);
  EXPECT_EQ(waitpid(leader, nullptr, 0), leader);
  EXPECT_EQ(waitpid(other, nullptr, 0), other);
  PausedServer(leader).Pause();  // a session that has ended
}

}  // namespace
}  // namespace millrace
