// The clients of a world, and the first half of the checker: every answer they get.
//
// Purpose: requests of every kind (ready tensor or raw column, one model or the ensemble, labels or
//   not, near and far deadlines, priorities, poison), cancels, slow readers; each answer is held
//   against what is right.
// Who may call: the simulation's one thread. Ownership: owns every request of the world.
// Invariants (violations otherwise):
//   1. Each request has exactly one answer, or its connection was reset by the end of its ingress.
//   2. An OK answer is the function of this request's input and of the version that was live when
//   it
//      was asked; its shape is the request's.
//   3. An error is one that the documents have for what happened to this request.
//   4. No answer comes later than the deadline and the lane's own delay.
// Nothing fails.
#pragma once

#include <stdint.h>

#include <deque>
#include <map>
#include <string>
#include <utility>

#include "services/ingress/frontend.h"

namespace millrace::sim {

class SimLane;
class World;

class Clients {
 public:
  explicit Clients(World* world) : world_(world) {}

  // Load: so many requests, in a rhythm that the seed draws, from now on.
  void Begin(size_t requests);
  bool done() const { return asked_ >= wanted_; }
  // Asked and not answered.
  size_t outstanding() const { return outstanding_; }
  // All at one lane, at once. Hasty ones are given up soon, but for a few that are more urgent.
  void Burst(SimLane* lane, size_t count, bool hasty);
  SimLane* ChooseLane() const;

  // A worker begins to execute this request of that lane: still wanted, and in time?
  void CheckRun(uint32_t lane, RequestId id);

  // A worker died while its page named this request.
  void CountDeath(uint32_t lane, RequestId id, bool by_signal);

  // An ingress lane has ended. `orderly`: by the supervisor's wish, after it drained.
  void OnLaneGone(uint32_t incarnation, bool orderly);

  // After the faults: as many requests of each kind as the windows of all workers hold, asked in
  // one turn of `lane`. None may wait there, and all must be answered.
  void FillWindows(SimLane* lane, size_t kind, size_t count);

  // Every window that was asked for was filled, and all of it answered.
  bool filled() const { return fills_left_ == 0 && must_be_ok_left_ == 0; }
  size_t all() const { return requests_.size(); }
  size_t ok() const { return ok_; }
  size_t refused() const { return refused_; }
  size_t reset() const { return reset_; }

  static constexpr size_t kKinds = 6;
  static constexpr size_t kOfPlain = 0, kOfRaw = 1, kOfEnsemble = 5;

 private:
  enum class State : uint8_t { kComing, kAsked, kAnswered, kReset };
  struct Request : Completion {
    void Done(const InferAnswer& answer) override { clients->OnDone(this, answer); }
    Clients* clients = nullptr;
    uint32_t number = 0;
    uint8_t kind = 0;
    uint8_t rows = 1;
    bool poison = false;
    bool cancelled = false;
    bool must_be_ok = false;
    bool hasty = false;
    bool impatient = false;  // cancels
    uint32_t priority = 0;
    State state = State::kComing;
    uint32_t lane = 0;
    RequestId id = 0;
    uint64_t generation = 0;  // live when it was asked
    int64_t asked_ns = 0;
    int64_t deadline_ns = 0;
    int deaths = 0;            // of workers that had it in their hands
    int deaths_by_signal = 0;  // of these
    float Input(size_t row) const;
  };

  void AskLater();
  Request* NewRequest();
  void Send(Request* request, SimLane* lane);
  void Ask(Request* request, SimLane* lane);
  void DrawUrgency(Request* request);
  void CancelLater(Request* request);
  void OnDone(Request* request, const InferAnswer& answer);
  void CheckOk(const Request& request, const InferAnswer& answer);
  void CheckError(const Request& request, const absl::Status& status);
  void CheckTime(const Request& request);
  void Violate(const Request& request, const std::string& why);
  double RightAnswer(const Request& request, size_t row) const;

  World* const world_;
  std::deque<Request> requests_;
  std::map<std::pair<uint32_t, RequestId>, Request*> by_id_;  // of lane and id: accepted
  size_t wanted_ = 0, asked_ = 0, outstanding_ = 0;
  size_t ok_ = 0, refused_ = 0, reset_ = 0, must_be_ok_left_ = 0, fills_left_ = 0;
};

}  // namespace millrace::sim
