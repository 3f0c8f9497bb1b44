// A whole process tree under test: keeper, supervisor and every stage, on free loopback ports.
//
// Purpose: start it, ask its status, hurt it, wait for what must follow, stop it.
// Who may call: the test's thread. Invariants: 1. nothing of a tree outlives its object; 2. waits
//   are for events, with a time limit only to end a test that has failed.
// What fails: Start and the waits abort with the tree's last status (the test has failed).
#pragma once

#include <signal.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "services/e2e/child.h"

namespace millrace {

class Tree {
 public:
  struct Options {
    std::string repository = "deploy/demo/models";  // empty: what the configuration says
    std::string config;                             // YAML text; empty: none
    bool enable_faults = false;                     // that `config` plans
    std::string metrics = "127.0.0.1:0";
  };
  // Returns once every stage is ready.
  static std::unique_ptr<Tree> Start(const Options& options);
  // Only starts it.
  explicit Tree(const Options& options);
  ~Tree();

  nlohmann::json Status();
  nlohmann::json Admin(const nlohmann::json& request);
  // "host:port" of the listener "grpc" or "http"; "unix:/path" of "local".
  std::string Address(const std::string& listener);
  // The process with that name ("execution0"); null if there is none now.
  nlohmann::json Process(const std::string& name);
  std::vector<std::string> ProcessNames();

  // Sends `signal`, then waits until another incarnation of the process is ready.
  void Hurt(const std::string& name, int signal);
  // The supervisor that the keeper runs now; 0: between two.
  int SupervisorPid();
  // Returns once the next one answers on the admin socket, with the time that took.
  int64_t KillSupervisor(int signal = SIGKILL);
  void WaitUntil(const char* what, const std::function<bool()>& holds);
  void WaitReady();

  Child& keeper() { return keeper_; }
  const std::string& admin_socket() const { return socket_; }
  // SIGTERM, then the keeper's exit code.
  int Stop();

 private:
  static std::vector<std::string> Command(const Options& options, const std::string& dir);

  std::string dir_;
  std::string socket_;
  Child keeper_;
};

// Descriptors that a process has open now.
size_t OpenDescriptors(int pid);

// A load of golden requests by the load generator, in a process of its own.
class GoldenLoad {
 public:
  // `raw`: named raw columns instead of the tensor.
  // `listener`: "grpc", "http" or "local".
  GoldenLoad(Tree& tree, const std::string& model, bool raw, const std::vector<std::string>& flags,
             const std::string& listener = "grpc");
  // Waits for its end (by count or time): its report.
  nlohmann::json Report();
  // Ends it now, letting what is in flight finish: its report.
  nlohmann::json End();
  Child& child() { return child_; }

 private:
  Child child_;
};

// The listeners that the keeper holds, of a status: the observer's socket is its own.
nlohmann::json KeptListeners(const nlohmann::json& status);

}  // namespace millrace
