// Tells the owners of versions whose weights became too old, once each.
//
// Purpose: `registry.debt_webhook`. Who may call: one thread; what it tells is told by a thread of
//   its own, so that nobody waits for a webhook. Ownership: copies what it needs of a catalog.
// Invariants: 1. A version is told of when it is found too old, until the other side has taken or
//   refused it, with pauses that double; then no more in this life of the process (a restart may
//   tell it again). 2. The end of the object takes no longer than one look-up by name.
// What fails: a notice, which is logged (event=debt_not_told) with how many there were.
#pragma once

#include <stdint.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "ipc/catalog.pb.h"
#include "ipc/model_debt.h"
#include "services/registry/debt/webhook.h"

namespace millrace {

class DebtWatch {
 public:
  struct Options {
    DebtLimits limits;
    int64_t patience_ms = 5'000;      // of one notice
    int64_t first_pause_ms = 60'000;  // before it is told again
    int64_t longest_pause_ms = 3'600'000;
    int64_t look_ms = 3'600'000;   // between two looks at the clock
    int64_t (*now_s)() = nullptr;  // null: the machine's clock
  };

  DebtWatch(const OtlpEndpoint& webhook, Options options);
  ~DebtWatch();
  DebtWatch(const DebtWatch&) = delete;

  // What is served from now on.
  void Use(const Catalog& catalog);

  struct Counts {
    uint64_t told = 0, refused = 0, failed_attempts = 0;
  };
  Counts counts() const;

 private:
  using Name = std::pair<std::string, std::string>;  // model, version

  void Run();
  // Who must be told now; empty: nobody.
  std::map<Name, std::string> Due() const;
  bool Tell(const Name& name, const std::string& json);

  const Options options_;
  Webhook webhook_;
  mutable std::mutex mutex_;  // guards what follows; off the path of requests
  std::condition_variable changed_;
  Catalog catalog_;  // models without tensors, weights
  bool fresh_ = false;
  bool ending_ = false;
  Counts counts_;
  std::set<Name> settled_;  // of the thread
  std::thread thread_;
};

}  // namespace millrace
