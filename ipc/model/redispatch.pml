/* Re-dispatch: requests, their input blocks, links, and workers that may be killed at any step.
 *
 * Purpose: each request is answered exactly once, whoever dies when; no published message is lost
 *   to a consumer that lives, none is taken twice; no block is used again too early; poison is
 *   found after the right number of deaths and nothing else is taken for it.
 * Follows: services/ingress/core/ingress_lane*.cc (Infer, Dispatch, OnMessage, OnPeerLost, Replay,
 *   Retire), services/runtime/lane.cc (Drain, End, CollectReturns), worker.cc (Pop, Executing,
 *   Reply, Done), ipc/link_shm.cc (Submit, Take, Return, TakeBackAll).
 * Route: HOPS 1: ingress -> worker -> ingress, LIVE workers at a time. HOPS 2: ingress -> first worker
 *   -> last worker -> ingress, one of each live; the first one holds ingress's block, the last one
 *   answers. A dead worker's next incarnation has new links.
 * A kill: SIGKILL between any two steps of a worker, and the roster says so later; or the roster
 *   says so first (a caught signal, a hang) and the worker runs on for a while.
 * A step is what no other process can see half of. A ledger slot with its sequence is the request's
 *   number here; processors are taken to be in order (ipc/model/README.md says what that leaves).
 * Planted faults, each found by check_models.py: FAULT_... below.
 */
#include "constants.inc"

#ifndef HOPS
#define HOPS 1
#endif
#ifndef LIVE
#define LIVE 2        /* workers at a time; HOPS 2: one of each stage */
#endif
#ifndef REQUESTS
#define REQUESTS 2
#endif
#define BLOCKS 2      /* of ingress's arena; with fewer than requests they are used again */
/* 1: only the first block is used, so that one request is in flight at a time. */
#ifndef ONE_BLOCK
#define ONE_BLOCK 0
#endif
#ifndef KILLS
#define KILLS 2       /* from outside, at most */
#endif
/* 1: some are off the roster before they are dead. */
#ifndef RUNS_ON
#define RUNS_ON 0
#endif
#ifndef CANCELS
#define CANCELS 0     /* by a client or a deadline, at most */
#endif
#ifndef ROGUES
#define ROGUES 0      /* answers that a worker forges for requests that are not its own, at most */
#endif
/* POISONS 1: request 0 ends whichever last worker executes it. BY_SIGNAL: and the page says so. */
#ifndef POISONS
#define POISONS 0
#endif
#ifndef BY_SIGNAL
#define BY_SIGNAL 1
#endif

/* Replay's rule, which redispatch_rules_test.cc (services/ingress/core) holds against the code:
 * deaths of a worker that executed the request alone until it is poison. */
#define DEATHS_BY_SIGNAL 1
#define DEATHS_FROM_OUTSIDE 2

#if BY_SIGNAL
#define SPARES (KILLS + POISONS * (1 + DEATHS_BY_SIGNAL))
#else
#define SPARES (KILLS + POISONS * (1 + DEATHS_FROM_OUTSIDE))
#endif
#define WORKERS (LIVE + SPARES)  /* incarnations in all */

#define RING 2        /* slots of a link; the code's ring is larger, and n % slots as well */
#define QUEUE 2       /* a worker's private queue */

#include "redispatch_state.inc"
#include "redispatch_worker.inc"

/* ---- the supervisor ---- */

inline Birth(stage_) {
  assert(incarnations < WORKERS);  /* no more deaths than the rules allow */
  stage[incarnations] = stage_;
  born[incarnations] = true; roster[incarnations] = true;
  incarnations++
}
#define CAN_KILL(k) (roster[k] && !dead[k])
#define HAS_DIED(k) (roster[k] && dead[k])
#define KILL(k) :: atomic { kills < KILLS && CAN_KILL(k) -> kills++; \
    if :: dead[k] = true :: RUNS_ON -> doomed[k] = true; roster[k] = false; Birth(stage[k]) fi }
#define BURY(k) :: atomic { HAS_DIED(k) -> roster[k] = false; Birth(stage[k]) }
#define FINISH_OFF(k) :: atomic { doomed[k] && !dead[k] -> dead[k] = true }

active proctype Supervisor() {
  atomic { Birth(0); if :: LIVE == 2 -> Birth(HOPS - 1) :: else fi }
end_watching:
  do
  EACH_WORKER(KILL)
  EACH_WORKER(BURY)
  EACH_WORKER(FINISH_OFF)
  /* Nobody kills again: a request that waits for a kill is stuck. */
  :: atomic { kills < KILLS -> kills = KILLS }
  od
}

/* ---- ingress ---- */

#define READY(k) (born[k] && !ended[k])
#define CAN_BE_FIRST(k) (READY(k) && IS_FIRST(k) && HAS_ROOM(INPUT(k)) && MAY_LEND(k))
#define CAN_BE_LAST(k) (READY(k) && IS_LAST(k))

inline ReleaseBlock(b) { assert(references[b] > 0); references[b]-- }

/* Retire: the flight ends with its one answer. */
inline Retire(r) {
  live[r] = 0;
  answers[r]++;
  assert(answers[r] == 1);
  state[r] = ANSWERED;
#ifdef FAULT_RETIRED_FREES
  references[input[r]] = 0
#else
  ReleaseBlock(input[r])
#endif
}

inline Admit() {
  b = (references[0] == 0 -> 0 : 1);
  k = 0;
  do
  :: k < WORKERS -> assert(!roster[k] || at_worker[k * BLOCKS + b] == 0); k++
  :: else -> break
  od;
  references[b] = 1;
  content[b] = admitted + 1;
  input[admitted] = b;
  state[admitted] = WAITING;
  admitted++; b = 0; k = 0
}

#define CHOOSE_FIRST(w) :: CAN_BE_FIRST(w) -> k = w
#define CHOOSE_LAST(w) :: CAN_BE_LAST(w) -> last_worker[r] = w
/* Nobody overtakes those that wait. */
#define IS_OLDEST(r) ((r == 0 || state[0] != WAITING) && (r < 2 || state[1] != WAITING))
/* Dispatch and Submit: route, ledger, message. */
inline Dispatch(r) {
  if EACH_WORKER(CHOOSE_FIRST) fi;
#if HOPS == 2
  if EACH_WORKER(CHOOSE_LAST) fi;
#else
  last_worker[r] = k;
#endif
  first_worker[r] = k;
  live[r] = attempt[r] + 1;
  state[r] = SENT;
  home[r] = false;
  references[input[r]]++;
  lent[k * BLOCKS + input[r]]++;
  at_worker[k * BLOCKS + input[r]]++;
  Write(INPUT(k), MAKE(r, attempt[r], alone[r]), input[r]);
  Publish(INPUT(k));
  k = 0
}
#define DISPATCH(r) :: atomic { state[r] == WAITING && IS_OLDEST(r) && ANY_FIRST && ANY_LAST -> Dispatch(r) }
#define CANCEL(r) :: atomic { cancels < CANCELS && (state[r] == WAITING || state[r] == SENT) -> \
    cancels++; Retire(r) }

#if defined(FAULT_NOT_CHECKED)
#define CURRENT(r, from) true
#elif defined(FAULT_DRAINED_LATE)
#define CURRENT(r, from) (answers[r] == 0 || ended[from])
#elif defined(FAULT_NO_ATTEMPT_CHECK)
#define CURRENT(r, from) (state[r] == SENT && last_worker[r] == from)
#elif defined(FAULT_NO_WORKER_CHECK)
#define CURRENT(r, from) (state[r] == SENT && ATTEMPT(m) == attempt[r])
#else
#define CURRENT(r, from) (state[r] == SENT && ATTEMPT(m) == attempt[r] && last_worker[r] == from)
#endif

/* OnMessage: an answer, if it is from whom and for what the ledger names. */
inline TakeAnswer(from) {
  Take(OUTPUT(from), m, v);
  if
  :: CURRENT(REQUEST(m), from) ->
    assert(v == REQUEST(m) + 1);   /* made from this request's bytes */
#ifndef FAULT_DRAINED_LATE
    assert(home[REQUEST(m)]);      /* and its input is returned */
#endif
    Retire(REQUEST(m))
  :: else
  fi;
  m = 0; v = 0
}
#ifdef FAULT_DRAINED_LATE
#define LISTENS(k) true
#else
#define LISTENS(k) (!ended[k])
#endif
#define ANSWER(k) :: atomic { LISTENS(k) && IS_LAST(k) && HAS_NEXT(OUTPUT(k)) -> TakeAnswer(k) }

/* Lane::CollectReturns, a word of it. */
#define HAS_RETURN(k) (return_seq[k * RING + collected[k] % RING] == collected[k] + FIRST_RETURN)
inline Collect(k) {
  b = return_block[k * RING + collected[k] % RING];
  assert(lent[k * BLOCKS + b] > 0);
  lent[k * BLOCKS + b]--;
  ReleaseBlock(b);
  return_block[k * RING + collected[k] % RING] = 0;  /* only for fewer states */
  collected[k] = collected[k] + 1; b = 0
}
#define COLLECT(k) :: atomic { !ended[k] && HAS_RETURN(k) -> Collect(k) }

/* Lane::End: what the dead worker published is taken first (ANSWER), then this. */
inline TakeBackAll(k) {
  b = 0;
  do
  :: b < BLOCKS ->
    references[b] = references[b] - lent[k * BLOCKS + b]; lent[k * BLOCKS + b] = 0; b++
  :: else -> break
  od;
  b = 0
}
inline WasExecuting(k, r) {
  suspect = executing[k * 2] == MAKE(r, attempt[r], 0) + 1 ||
            executing[k * 2 + 1] == MAKE(r, attempt[r], 0) + 1
}
inline Replay(k, r) {
  WasExecuting(k, r);
#ifdef FAULT_NO_SUSPECTS
  suspect = false;
#endif
  if :: suspect && alone[r] -> deaths_alone[r]++ :: else fi;
  if
#ifdef FAULT_POISON_AT_ONCE
  :: suspect ->
#elif defined(FAULT_BLAMED_UNSEEN)
  /* Whatever the worker was executing when it died. */
  :: deaths_alone[r] >= (dying[k] -> DEATHS_BY_SIGNAL : DEATHS_FROM_OUTSIDE) ->
#else
  :: suspect && deaths_alone[r] >= (dying[k] -> DEATHS_BY_SIGNAL : DEATHS_FROM_OUTSIDE) ->
#endif
    assert(POISONS == 1 && r == 0);
    assert(deaths_of_poison + kills > (dying[k] -> DEATHS_BY_SIGNAL : DEATHS_FROM_OUTSIDE));
    Retire(r)
#ifdef FAULT_NOT_REPLAYED
  :: else -> state[r] = (suspect -> WAITING : SENT);
#else
  :: else -> state[r] = WAITING;
#endif
    alone[r] = alone[r] || suspect;
    live[r] = 0;
    attempt[r]++;
    assert(attempt[r] < 8)         /* the id's three bits here */
  fi;
  suspect = false
}
inline End(k) {
#ifndef FAULT_DRAINED_LATE
  assert(!dead[k] || !IS_LAST(k) || next_[OUTPUT(k)] == tail[OUTPUT(k)]);
#endif
  do :: HAS_RETURN(k) -> Collect(k) :: else -> break od;
  TakeBackAll(k);
#ifdef FAULT_TAKEN_BACK_ALIVE
  /* From every worker, as if all of the route had ended. */
  TakeBackAll(0); TakeBackAll(1);
#endif
  r = 0;
  do
  :: r < REQUESTS ->
    if
    :: state[r] == SENT && (first_worker[r] == k || last_worker[r] == k) -> Replay(k, r)
    :: else
    fi;
    r++
  :: else -> break
  od;
  r = 0;
  ended[k] = true
}
#define LOST(k) :: atomic { born[k] && !roster[k] && !ended[k] && DRAINED(k) -> End(k) }
#if defined(FAULT_NOT_DRAINED) || defined(FAULT_DRAINED_LATE)
#define DRAINED(k) true
#else
#define DRAINED(k) (!IS_LAST(k) || !HAS_NEXT(OUTPUT(k)))
#endif

#define HAS_FREE (references[0] == 0 || (!ONE_BLOCK && references[1] == 0))

active proctype Ingress() {
  byte admitted = 0, k = 0, b = 0, m = 0, v = 0, r = 0;
  bool suspect = false;

  atomic {
    incarnations > 0;
    Admit();
    if :: !ONE_BLOCK && REQUESTS > 1 -> Admit() :: else fi
  }
end_polling:
  do
  :: atomic { admitted < REQUESTS && HAS_FREE -> Admit() }
  EACH_REQUEST(DISPATCH)
  EACH_REQUEST(CANCEL)
  EACH_WORKER(ANSWER)
  EACH_WORKER(COLLECT)
  EACH_WORKER(LOST)
  :: atomic { cancels < CANCELS -> cancels = CANCELS }
  od
}

/* Stuck here (an invalid end state): a request without its answer, or a block that never came
 * home. */
active proctype EverythingEnds() {
  ALL_ANSWERED && references[0] == 0 && references[1] == 0
}
