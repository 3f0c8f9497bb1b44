#include "services/e2e/tree.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "common/check.h"
#include "common/clock.h"

namespace millrace {
namespace {

// The files have the times of what they are copies of.
void CopyWithTimes(const std::string& from, const std::string& to) {
  namespace fs = std::filesystem;
  fs::copy(from, to, fs::copy_options::recursive);
  for (const auto& entry : fs::recursive_directory_iterator(from)) {
    if (!entry.is_regular_file()) continue;
    fs::last_write_time(fs::path(to) / entry.path().lexically_relative(from),
                        entry.last_write_time());
  }
}

constexpr int64_t kLimitNs = 60 * kNanosPerSecond;
constexpr auto kPoll = std::chrono::milliseconds(5);

std::string MakeDirectory() {
  // A short path: the name of a Unix socket holds 107 bytes.
  char name[] = "/tmp/millrace-e2e-XXXXXX";
  MR_CHECK(mkdtemp(name) != nullptr, "no directory for the test");
  return name;
}

// The reply to one line, or nothing while nobody listens.
std::string Ask(const std::string& socket_path, const std::string& line) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path.c_str());
  std::string reply;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      send(fd, line.data(), line.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(line.size())) {
    char buffer[4096];
    ssize_t n;
    while ((reply.empty() || reply.back() != '\n') && (n = read(fd, buffer, sizeof buffer)) > 0) {
      reply.append(buffer, n);
    }
  }
  close(fd);
  return reply;
}

}  // namespace

std::vector<std::string> Tree::Command(const Options& options, const std::string& dir) {
  std::vector<std::string> command = {"services/keeper/keeper",
                                      "--listen=grpc=127.0.0.1:0",
                                      "--listen=http=127.0.0.1:0",
                                      "--listen=local=unix:" + dir + "/local",
                                      "--supervisor=services/supervisor/supervisor",
                                      "--",
                                      "--binaries=services",
                                      "--compiler=kernels/compile/compiler",
                                      "--metrics=" + options.metrics,
                                      "--admin-socket=" + dir + "/admin"};
  if (!options.repository.empty()) {
    // A copy, since a test's data are symbolic links, which the registry does not follow.
    CopyWithTimes(options.repository, dir + "/models");
    command.push_back("--repository=" + dir + "/models");
  }
  if (options.enable_faults) command.push_back("--enable-faults");
  if (!options.config.empty()) {
    std::ofstream(dir + "/millrace.yaml") << options.config;
    command.push_back("--config=" + dir + "/millrace.yaml");
  }
  return command;
}

Tree::Tree(const Options& options)
    : dir_(MakeDirectory()), socket_(dir_ + "/admin"), keeper_(Command(options, dir_), false) {}

std::unique_ptr<Tree> Tree::Start(const Options& options) {
  auto tree = std::make_unique<Tree>(options);
  tree->WaitReady();
  return tree;
}

Tree::~Tree() { std::filesystem::remove_all(dir_); }

nlohmann::json Tree::Admin(const nlohmann::json& request) {
  const std::string reply = Ask(socket_, request.dump() + "\n");
  return nlohmann::json::parse(reply, nullptr, /*allow_exceptions=*/false);
}

nlohmann::json Tree::Status() { return Admin({{"verb", "status"}}); }

std::string Tree::Address(const std::string& listener) {
  const nlohmann::json status = Status();
  for (const auto& l : status["listeners"]) {
    if (l["name"] == listener) return l["address"];
  }
  return "";
}

nlohmann::json KeptListeners(const nlohmann::json& status) {
  nlohmann::json kept = nlohmann::json::array();
  for (const auto& l : status.at("listeners")) {
    if (l["name"] != "metrics") kept.push_back(l);
  }
  return kept;
}

nlohmann::json Tree::Process(const std::string& name) {
  const nlohmann::json status = Status();
  if (!status.is_object()) return nullptr;
  for (const auto& p : status["processes"]) {
    if (p["name"] == name) return p;
  }
  return nullptr;
}

std::vector<std::string> Tree::ProcessNames() {
  std::vector<std::string> names;
  const nlohmann::json status = Status();
  for (const auto& p : status["processes"]) names.push_back(p["name"]);
  return names;
}

void Tree::WaitUntil(const char* what, const std::function<bool()>& holds) {
  const int64_t end = MonotonicNanos() + kLimitNs;
  while (!holds()) {
    if (MonotonicNanos() > end) {
      fprintf(stderr, "waited in vain until %s; status: %s\n", what, Status().dump(1).c_str());
      MR_CHECK(false, "the tree did not do what the test waits for");
    }
    std::this_thread::sleep_for(kPoll);
  }
}

void Tree::WaitReady() {
  WaitUntil("every process is ready", [this] {
    MR_CHECK(!keeper_.Poll().has_value(), "the keeper ended instead of getting ready");
    const nlohmann::json status = Status();
    if (!status.is_object() || status["phase"] != "running") return false;
    bool ingress = false;
    for (const auto& p : status["processes"]) {
      if (p["state"] != "ready" && p["state"] != "spare") return false;
      ingress = ingress || p["stage"] == "ingress";
    }
    return ingress;
  });
}

void Tree::Hurt(const std::string& name, int signal) {
  nlohmann::json before;
  WaitUntil("the process to hurt is ready", [&] {
    before = Process(name);
    return before.is_object() && before["state"] == "ready";
  });
  kill(before["pid"].get<int>(), signal);
  WaitUntil("the next incarnation is ready", [&] {
    const nlohmann::json now = Process(name);
    return now.is_object() && now["incarnation"] != before["incarnation"] &&
           now["state"] == "ready";
  });
}

int Tree::SupervisorPid() {
  const std::string keeper = std::to_string(keeper_.pid());
  std::ifstream children("/proc/" + keeper + "/task/" + keeper + "/children");
  for (int child; children >> child;) {
    std::string line;
    std::ifstream status("/proc/" + std::to_string(child) + "/stat");
    std::getline(status, line);
    if (line.find("(supervisor) ") != std::string::npos &&
        line.find("(supervisor) Z") == std::string::npos) {
      return child;
    }
  }
  return 0;
}

int64_t Tree::KillSupervisor(int signal) {
  nlohmann::json before;
  int pid = 0;
  WaitUntil("the supervisor to kill answers", [&] {
    pid = SupervisorPid();
    before = Status();
    return pid != 0 && before.is_object() && pid == SupervisorPid();
  });
  const int64_t killed_ns = MonotonicNanos();
  kill(pid, signal);
  WaitUntil("the next supervisor answers", [&] {
    const nlohmann::json now = Status();
    return now.is_object() && now["supervisor_restarts"] > before["supervisor_restarts"];
  });
  return MonotonicNanos() - killed_ns;
}

int Tree::Stop() {
  keeper_.Signal(SIGTERM);
  return keeper_.Wait();
}

size_t OpenDescriptors(int pid) {
  size_t count = 0;
  const std::string path = "/proc/" + std::to_string(pid) + "/fd";
  DIR* dir = opendir(path.c_str());
  MR_CHECK(dir != nullptr, "no such process");
  while (const dirent* entry = readdir(dir)) count += entry->d_name[0] != '.';
  closedir(dir);
  return count;
}

namespace {

std::vector<std::string> LoadCommand(Tree& tree, const std::string& model, bool raw,
                                     const std::vector<std::string>& flags,
                                     const std::string& listener) {
  const std::string golden = "deploy/demo/golden/" + model + "/";
  std::vector<std::string> command = {
      "tools/load/load", "--" + listener + "=" + tree.Address(listener), "--model=" + model,
      "--rows=" + golden + (raw ? "raw.csv" : "rows.csv"),
      "--expect=" + golden + (raw ? "raw_expect.csv" : "expect.csv")};
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

}  // namespace

GoldenLoad::GoldenLoad(Tree& tree, const std::string& model, bool raw,
                       const std::vector<std::string>& flags, const std::string& listener)
    : child_(LoadCommand(tree, model, raw, flags, listener), true) {}

nlohmann::json GoldenLoad::End() {
  child_.Signal(SIGINT);
  return Report();
}

nlohmann::json GoldenLoad::Report() {
  return nlohmann::json::parse(child_.Output(), nullptr, /*allow_exceptions=*/false);
}

}  // namespace millrace
