// A model named "sum" behind gRPC and behind HTTP, that does what a test tells it.
//
// Purpose: the tests of the clients' side, without a server of ours. Who may call: any thread.
// Ownership: both servers end with the object; a test lets go what it holds before that.
// Invariants: 1. y = a + b for each row of `x` (FP32, [-1, 2]), unless `answer` says otherwise.
//   2. Each infer call is numbered from 0, and answered as `answer` says for its number.
// Nothing fails but the start: that is a CHECK.
#pragma once

#include <stdint.h>

#include <functional>
#include <memory>
#include <string>

namespace millrace {

enum class Behaviour {
  kSum,
  kWrong,       // y one too high
  kRefuse,      // UNAVAILABLE, HTTP 503
  kBadRequest,  // INVALID_ARGUMENT, HTTP 400
  kHang,        // no answer until the client is gone
  kDrop,        // HTTP: the connection ends; gRPC: as kRefuse
  kNonsense,    // HTTP: 200 with what is no JSON; gRPC: as kWrong
};

class FakeModel {
 public:
  explicit FakeModel(std::function<Behaviour(int64_t)> answer);
  ~FakeModel();

  std::string grpc() const;  // addresses
  std::string http() const;
  int64_t calls() const;        // infer calls so far
  int64_t connections() const;  // over HTTP, so far

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
