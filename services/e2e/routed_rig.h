// A server with versions of one model that answer differently, and clients that write down who did.
//
// Purpose: tests of routes. Who may call: the test's thread. Ownership: the repository goes with
// its
//   object; clients end with theirs. Invariants: 1. every answer is held against what its version
//   says, bit by bit (the text of a number is that of its bits). What fails: the test.
#pragma once

#include <stdint.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "services/e2e/tree.h"

namespace millrace {

// <root>/m/{1,2,3} and <root>/small/1: trees of one split, each with leaves of its own.
class RoutedRepository {
 public:
  RoutedRepository();
  ~RoutedRepository();
  const std::string& root() const { return root_; }
  void AddVersion(const std::string& model, int version);

 private:
  std::string root_;
};

struct RoutedAnswer {
  int code = 0;  // 0: the connection ended
  std::string model, version, fallback, data;
  std::string body;
};

// One kept connection. What breaks it is a code of 0, and the next call connects anew.
class RoutedClient {
 public:
  explicit RoutedClient(std::string address) : address_(std::move(address)) {}
  ~RoutedClient();
  RoutedAnswer Ask(const std::string& path, const std::string& fields = "",
                   const std::string& parameters = "");

 private:
  bool Connect();
  std::string address_;
  int socket_ = -1;
};

// Clients that ask all the time, each with a key of its own.
class RoutedLoad {
 public:
  struct Seen {
    int64_t sent_ns, heard_ns;
    int version;  // 0: not answered
    int client;
    enum class Way { kPlain, kHeader, kPath } way;
  };
  // `expected`: what each version says.
  RoutedLoad(std::string address, int clients, std::map<std::string, std::string> expected);
  ~RoutedLoad() { End(); }
  // Ends it: all that was seen, by all clients.
  std::vector<Seen> End();
  uint64_t answered() const { return answered_.load(); }
  uint64_t wrong() const { return wrong_.load(); }  // another answer than its version's

 private:
  void Run(int client);
  const std::string address_;
  const std::map<std::string, std::string> expected_;
  std::atomic<bool> end_{false};
  std::atomic<uint64_t> answered_{0}, wrong_{0};
  std::vector<std::vector<Seen>> seen_;
  std::vector<std::thread> threads_;
};

}  // namespace millrace
