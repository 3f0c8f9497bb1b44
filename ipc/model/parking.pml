/* Parking (ipc/waiter.h): one consumer that sleeps on its eventfd, two producers, store buffers.
 *
 * Purpose: no wake-up is lost, whatever the order of steps and however long a store waits in a
 *   processor's buffer. A sleep has no time-out here: a lost wake-up is a deadlock, which Spin
 *   reports as an invalid end state.
 * Memory model: TSO. A store goes to the buffer of its process and reaches memory later, in order,
 *   at any moment; a load reads memory; a fence waits until the buffer is empty. Each shared word
 *   has one writer, which never reads it, so that no load has to look into its own buffer.
 *   System calls (eventfd) act on the kernel's counter at once and are not taken for fences.
 * Bounds: PRODUCERS producers of some messages each, in batches of 1 or 2, and each may stop
 *   at any batch (so that no later publish hides a lost wake-up).
 * Planted faults, each found by check_models.py: FAULT_... below.
 * What the model takes from the code stands in constants.inc, printed from the headers.
 */
#include "constants.inc"

#define PRODUCERS 2
#ifndef FIRST_MESSAGES
#define FIRST_MESSAGES 3
#endif
#ifndef SECOND_MESSAGES
#define SECOND_MESSAGES 2
#endif
#define BUFFER 2    /* stores that a buffer holds; a store waits while it is full */
#define EPOCHS 250  /* more than can be reached: two for each park */
#define NEVER 255

/* Memory. */
byte published[PRODUCERS];      /* messages of a link that can be seen: the seq of its last slot */
byte parked = EPOCH_START;      /* the word in the consumer's page */
bool readable = false;          /* the kernel's counter is above 0 */

/* Store buffers: what waits to become `published` or `parked`. */
chan link_stores[PRODUCERS] = [BUFFER] of { byte };
chan park_stores = [BUFFER] of { byte };

/* What only the properties look at. */
byte taken[PRODUCERS];
byte finished = 0;              /* producers that have stopped */
byte last_odd = 0;              /* odd epochs only grow: each is used once */

#define EVERYTHING_TAKEN (finished == PRODUCERS && \
  empty(link_stores[0]) && empty(link_stores[1]) && \
  taken[0] == published[0] && taken[1] == published[1])
#define ASLEEP(e) (((e) & ASLEEP_MASK) != 0)

/* The processors: each store reaches memory at some moment. */
active proctype Buffers() {
  byte v;
end_drained:
  do
  :: atomic { link_stores[0]?v -> published[0] = v }
  :: atomic { link_stores[1]?v -> published[1] = v }
  :: atomic { park_stores?v -> parked = v }
  od
}

/* A lane that publishes: ProducerEnd::Submit, then Waker::Wake for the batch. */
active [PRODUCERS] proctype Producer() {
  byte me = _pid - 1;
  byte most = (me == 0 -> FIRST_MESSAGES : SECOND_MESSAGES);
  byte sent = 0;
  byte epoch = 0;
  byte woken = EPOCH_START;     /* WakeGate::woken_ */
  byte wrote = NEVER;           /* the epoch of its last write, for the property */

  do
  :: sent < most ->
    /* Submit: seq of slot n becomes n + 1 (release: not before the slot's bytes). */
    atomic { sent++; link_stores[me]!sent }
    if
    :: sent < most -> atomic { sent++; link_stores[me]!sent }
    :: skip
    fi;
#ifndef FAULT_NO_F2
    empty(link_stores[me]);     /* fence F2 */
#endif
    epoch = parked;             /* relaxed load */
#ifdef FAULT_FLAG
    if :: !ASLEEP(epoch) -> woken = EPOCH_START :: else fi;
#endif
    if
#ifdef FAULT_NOT_REMEMBERED
    :: ASLEEP(epoch) ->
#else
    :: ASLEEP(epoch) && epoch != woken ->
#endif
      woken = epoch;
      atomic {
        readable = true;        /* eventfd_write, a system call */
#ifndef FAULT_FLAG
        assert(wrote != epoch); /* at most one write for an epoch */
#endif
        wrote = epoch
      }
    :: else
    fi;
    epoch = EPOCH_START         /* forgotten: fewer states */
  :: break
  od;
  finished++
}

/* Waiter::Unpark. */
inline Unpark() {
#ifdef FAULT_FLAG
  park_stores!EPOCH_START;
#else
  epoch = epoch + UNPARK_STEP;
  assert(!ASLEEP(epoch));
  park_stores!epoch;
#endif
#ifndef FAULT_CLEARED_AFTER_LOOK
  readable = false              /* eventfd_read */
#endif
}

/* Waiter::Arm. */
inline Arm() {
  d_step {
#ifdef FAULT_FLAG
    epoch = EPOCH_START + ARM_STEP;
#elif defined(FAULT_EPOCH_REPEATS)
    epoch = (epoch + ARM_STEP) % 4;
#else
    epoch = epoch + ARM_STEP;
#endif
    assert(ASLEEP(epoch) && epoch < EPOCHS);
#ifndef FAULT_FLAG
    assert(epoch > last_odd);   /* each odd value once */
#endif
    last_odd = epoch
  }
  park_stores!epoch;            /* relaxed store */
#ifndef FAULT_NO_F1
  empty(park_stores);           /* fence F1 */
#endif
}

/* The lane that sleeps: its duty cycle, with the look before it sleeps (Lane::HasWork). */
active proctype Consumer() {
  byte epoch = EPOCH_START;
  bool something;

cycle:
  something = false;
  /* LinkConsumer::Take on each link. */
  if :: atomic { published[0] > taken[0] -> taken[0]++; something = true } :: else fi;
  if :: atomic { published[1] > taken[1] -> taken[1]++; something = true } :: else fi;
  if :: something -> goto cycle :: else fi;

  Arm();
#ifndef FAULT_NO_SECOND_LOOK
  if :: published[0] > taken[0] -> goto awake :: else fi;
  if :: published[1] > taken[1] -> goto awake :: else fi;
#endif
#ifdef FAULT_CLEARED_AFTER_LOOK
  readable = false;
#endif
  /* poll(eventfd), without a time-out: here a lost wake-up is stuck. */
  if
  :: readable
  :: EVERYTHING_TAKEN -> goto end_all_taken
  fi;
awake:
  Unpark();
  goto cycle;
end_all_taken:
  skip
}
