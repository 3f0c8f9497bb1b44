// The judge of the kill torture: reads histories, knows nothing of links, lanes or memory.
//
// Purpose: the account of what may be in the journals of processes of which any was killed at any
//   instruction. Who may call: anybody; a pure function. Ownership: none.
// The rules (what each sentence says is planted in history_check_test):
//   1. An end takes what the other offered: in that order, each once, with the bytes it was given.
//   2. What was published is taken by a peer that lived to end the link.
//   3. Bytes do not change, and their block is not used again, while an end holds them: by the
//      holder's digests, and by the clock that both wrote down.
//   4. A block comes back once for each time it was lent; none is taken back from the living; none
//      is left behind when a link has ended or all is done.
//   5. An owner counts the attempt up each time it offers an entry. An entry is done at most once,
//      by the answer to its latest attempt; exactly once when the owner lived to the end. A worker
//      answers only what it took, once.
//   6. No end finds a fault in another. Nobody sleeps on beside a message whose sender had woken.
// Nothing fails: broken rules are sentences.
#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "ipc/testing/history.h"

namespace millrace {

// At most some dozen sentences, each with the incarnations and the entry it is about.
std::vector<std::string> CheckHistories(absl::Span<const History> histories);

}  // namespace millrace
