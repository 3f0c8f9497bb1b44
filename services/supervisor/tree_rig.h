// Keeper, supervisor and test workers as real processes, and what a test asks of them.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <sstream>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "gtest/gtest.h"
#include "ipc/fd.h"
#include "nlohmann/json.hpp"

namespace millrace {

using nlohmann::json;

inline constexpr const char* kKeeper = "services/keeper/keeper";
inline constexpr const char* kSupervisor = "services/supervisor/supervisor";
inline constexpr const char* kWorker = "services/supervisor/test_worker";

class TreeTest : public testing::Test {
 protected:
  void SetUp() override {
    // Short, since a socket's path has 107 bytes; the sandbox lets tests write there.
    dir_ = "/tmp/mr-tree-XXXXXX";
    ASSERT_NE(mkdtemp(dir_.data()), nullptr);
    char cwd[4096];
    ASSERT_NE(getcwd(cwd, sizeof cwd), nullptr);
    for (const char* stage : {"registry", "ingress", "features", "execution", "aggregation"}) {
      mkdir((dir_ + "/" + stage).c_str(), 0700);
      const std::string program = dir_ + "/" + stage + "/" + stage;
      ASSERT_EQ(symlink((std::string(cwd) + "/" + kWorker).c_str(), program.c_str()), 0);
    }
    Write("config.yaml", "supervisor:\n  hang_ms: 300\n  drain_ms: 2000\n");
    mkdir((dir_ + "/models").c_str(), 0700);
    arguments_ = {kKeeper,
                  "--listen=grpc=127.0.0.1:0",
                  "--listen=http=unix:" + dir_ + "/http",
                  std::string("--supervisor=") + kSupervisor,
                  "--",
                  "--config=" + dir_ + "/config.yaml",
                  "--repository=" + dir_ + "/models",
                  "--metrics=none",
                  "--admin-socket=" + dir_ + "/admin",
                  "--binaries=" + dir_,
                  "--compiler=" + dir_ + "/registry/registry"};
    // What a killed keeper leaves becomes ours, so that a test can see it end.
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  }

  void TearDown() override {
    if (keeper_ > 0) {
      kill(keeper_, SIGTERM);
      kill(keeper_, SIGTERM);
      waitpid(keeper_, nullptr, 0);
    }
    if (HasFailure()) fputs(LogText().c_str(), stderr);
    const std::string remove = "rm -rf " + dir_;
    EXPECT_EQ(system(remove.c_str()), 0);
  }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ + "/" + name) << text;
  }

  void Start() {
    keeper_ = fork();
    if (keeper_ == 0) {
      const int log = open((dir_ + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      dup2(log, STDERR_FILENO);
      std::vector<char*> argv;
      for (std::string& argument : arguments_) argv.push_back(argument.data());
      argv.push_back(nullptr);
      execv(argv[0], argv.data());
      _exit(127);
    }
  }

  void StartReady() {
    Start();
    ASSERT_TRUE(Until([this] { return Ready(); }));
  }

  int WaitKeeper() {
    int status = 0;
    waitpid(keeper_, &status, 0);
    keeper_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  int RunToEnd() {
    Start();
    return WaitKeeper();
  }

  std::string LogText() const {
    std::ifstream file(dir_ + "/log");
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

  static bool Until(const std::function<bool()>& condition) {
    const int64_t limit = MonotonicNanos() + 20 * kNanosPerSecond;
    while (MonotonicNanos() < limit) {
      if (condition()) return true;
      usleep(5'000);
    }
    return false;
  }

  // Null where nobody answers.
  json Ask(const json& request) const {
    Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, (dir_ + "/admin").c_str());
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return {};
    const std::string line = request.dump() + "\n";
    if (send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL) < 0) return {};
    std::string reply;
    char text[4096];
    for (ssize_t n; (n = recv(fd.get(), text, sizeof text, 0)) > 0;) {
      reply.append(text, n);
      if (reply.back() == '\n') break;
    }
    return json::parse(reply, nullptr, false);
  }

  json Status() const { return Ask({{"verb", "status"}}); }

  bool Ready() const {
    const json reply = Ask({{"verb", "wait_ready"}, {"timeout_ms", 10'000}});
    return reply.is_object() && reply.value("ready", false);
  }

  // The living process of a name; null: none.
  json Process(const std::string& name) const {
    const json status = Status();
    if (!status.is_object()) return {};
    for (const json& process : status["processes"]) {
      if (process["name"] == name && process["state"] != "dying") return process;
    }
    return {};
  }

  bool ReadyAgain(const std::string& name, const json& before) const {
    const json now = Process(name);
    return now.is_object() && now["state"] == "ready" && now["pid"] != before["pid"] && Ready();
  }

  // Of the newest supervisor; 0: none was started yet.
  pid_t SupervisorPid() const {
    const std::string log = LogText(), word = "event=supervisor_started pid=";
    const size_t at = log.rfind(word);
    return at == std::string::npos ? 0 : atoi(log.c_str() + at + word.size());
  }

  size_t Starts() const {
    const std::string log = LogText(), word = "event=supervisor_started";
    size_t count = 0;
    for (size_t at = log.find(word); at != std::string::npos; at = log.find(word, at + 1)) ++count;
    return count;
  }

  void KillSupervisor() const {
    if (const pid_t pid = SupervisorPid(); pid > 0) kill(pid, SIGKILL);
  }

  static size_t OpenDescriptors(pid_t pid) {
    size_t count = 0;
    DIR* dir = opendir(("/proc/" + std::to_string(pid) + "/fd").c_str());
    while (dir != nullptr && readdir(dir) != nullptr) ++count;
    if (dir != nullptr) closedir(dir);
    return count;
  }

  std::vector<pid_t> Pids() const {
    std::vector<pid_t> pids;
    const json status = Status();
    for (const json& process : status["processes"]) pids.push_back(process["pid"]);
    return pids;
  }

  // In the order of the log.
  std::vector<std::string> Ended() const {
    std::vector<std::string> names;
    std::istringstream lines(LogText());
    for (std::string line; std::getline(lines, line);) {
      const size_t at = line.find("event=worker_ended name=");
      if (at == std::string::npos) continue;
      const size_t begin = at + strlen("event=worker_ended name=");
      names.push_back(line.substr(begin, line.find(' ', begin) - begin));
    }
    return names;
  }

  std::string dir_;
  std::vector<std::string> arguments_;
  pid_t keeper_ = 0;
};

}  // namespace millrace
