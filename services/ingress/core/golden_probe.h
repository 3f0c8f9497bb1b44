// The golden probe: whether inference works, as requests of the lane's own show it.
//
// Purpose: readiness is the result of an inference. Each golden request of each live model goes the
//   way of a client's, twice in a probe period; what is ready follows from the answers.
// Who may call: the lane's thread. Ownership: keeps the table while a request of it is in flight.
// Invariants:
//   1. A model is ready while each of its golden requests was answered right, the last verdict is
//      not a bad one, and the last proof is no older than a period. A proof is a right golden
//      answer or an answer to a client that went the same way, and is as old as its request. So
//      whatever makes inference fail makes the model not ready within one period.
//   2. One request of a case is in flight at a time; one is sent in a Step, so that many models
//      are spread over the period by themselves.
//   3. A golden request that is refused or late is no verdict: under overload the clients' answers
//      are the proof. It is not taken for a client's either: it may not count as one.
//   4. A model that runs long has a period of four of its runs. One whose golden request ends
//      workers is asked ever more rarely, up to 64 times.
//   5. A model that comes while others are served makes the server not ready only after a verdict
//      or a period; at the start every model must have answered.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "ipc/golden_words.h"
#include "services/ingress/core/golden_case.h"

namespace millrace {

class GoldenProbe {
 public:
  struct Host {
    // As Frontend's, with a request that is not counted as a client's.
    std::function<RequestId(const InferRequest& request, Completion* completion)> send;
    std::function<void(RequestId id)> cancel;
    // What the stages take for a request of the model at this place of the live table; 0: unknown.
    std::function<int64_t(size_t place)> run_ns;
    std::function<int64_t()> now_ns;
  };
  // `period_ns` 0: nothing is sent, and everything is ready. `words`: null: nothing is told.
  GoldenProbe(Host host, int64_t period_ns, double tolerance, GoldenWords* words);
  ~GoldenProbe();

  // A table goes live.
  void SetTable(std::shared_ptr<const ModelTable> table);
  // Sends what is due. The count of what was done.
  size_t Step();
  // When Step has something to do again; INT64_MAX: never.
  int64_t NextNs() const { return next_ns_; }
  // A client's request of the live table, accepted then, was answered.
  void ClientAnswered(size_t place, bool raw_columns, int64_t accepted_ns) {
    int64_t& last = proofs_[place][raw_columns];
    if (last < accepted_ns) last = accepted_ns;
  }
  // Sends no more, and gives up what is in flight.
  void Stop();

  // Whether every model is ready; OK or why one (at a place of the live table) is not.
  bool AllReady() const;
  absl::Status ModelReady(size_t place) const;
  // Since the last right golden answer's request, of the case where that is longest; nothing: one
  // has none yet.
  std::optional<uint64_t> AgeMs(size_t place) const;
  // Every case had a verdict, or a period for it.
  bool Judged() const;

 private:
  class Probe;
  using Proofs = std::array<int64_t, 2>;  // when the last answered client's request was accepted

  int64_t LimitOf(const Probe& probe) const;
  // Until when this case is good, if nothing follows.
  int64_t GoodUntil(const Probe& probe) const;
  bool Excused(const Probe& probe, int64_t now) const;
  void Send(Probe* probe, int64_t now);
  void OnDone(Probe* probe, const InferAnswer& answer);
  void Note(Probe* probe, GoldenFailure failure, absl::StatusCode code);
  void FindNext();
  void Tell(int64_t now);
  void TellModel(size_t place);
  void TellReady(int64_t now);

  const Host host_;
  const int64_t period_ns_;
  const double tolerance_;
  GoldenWords* const words_;
  bool stopped_ = false;
  std::shared_ptr<const ModelTable> table_;
  std::vector<std::unique_ptr<Probe>> probes_;
  std::vector<Proofs> proofs_;                   // by place, then by whether raw columns were sent
  std::vector<std::unique_ptr<Probe>> leaving_;  // of former tables, until their answer is there
  int64_t next_ns_ = INT64_MAX;
  int64_t tell_ns_ = 0;
};

}  // namespace millrace
