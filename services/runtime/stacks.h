// Where the threads of a process stand, told when it ends by a fatal signal.
//
// Purpose: who looks for why a process hung, or crashed, finds the functions in the log, without a
//   core. Who may call: each thread that matters names itself once, before anything can hang;
//   TellStack and TellStacks are for handlers of fatal signals.
// Invariants:
//   1. Nothing is allocated and no lock of ours is taken: lines are made in place, with no time
//      stamp (level=error program=P pid=N event=stack thread=T frame=K at=FUNCTION).
//   2. TellStacks waits at most kTellLimitMs for all threads together; one that does not answer is
//      said to be silent.
//   3. At most kMostThreads are known, and kMostFrames of each are told.
// Nothing fails: what cannot be told is left out.
#pragma once

namespace millrace {

inline constexpr int kMostThreads = 16;
inline constexpr int kMostFrames = 24;
inline constexpr int kTellLimitMs = 150;

// The calling thread is known by this name, a literal, from now on. Its signal SIGUSR2 is ours.
void KnowThread(const char* name);

// The stack of the calling thread, whether it is known or not.
void TellStack();

// The stacks of all known threads.
void TellStacks();

}  // namespace millrace
