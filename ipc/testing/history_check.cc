#include "ipc/testing/history_check.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

constexpr size_t kMostSentences = 24;

std::string Name(const Event& event) {
  return absl::StrCat("entry ", event.entry >> 32, ".", event.entry & UINT32_MAX, " attempt ",
                      event.attempt);
}

bool SameMessage(const Event& a, const Event& b) {
  return a.entry == b.entry && a.attempt == b.attempt;
}

class Judge {
 public:
  explicit Judge(absl::Span<const History> histories) : histories_(histories) {}

  std::vector<std::string> Run() {
    for (const History& history : histories_) {
      CheckBlocks(history);
      if (history.is_owner) {
        CheckEntries(history);
      } else {
        CheckAnswers(history);
      }
      for (const History& other : histories_) {
        if (history.is_owner != other.is_owner) CheckDirection(history, other);
      }
    }
    return std::move(sentences_);
  }

 private:
  struct Block {
    uint64_t entry = 0;
    bool kept = false;  // by the owner, until the entry is done
    std::map<uint32_t, int> lent;
    bool Free() const {
      return !kept &&
             std::all_of(lent.begin(), lent.end(), [](const auto& l) { return l.second == 0; });
    }
  };
  using Blocks = std::unordered_map<uint32_t, Block>;
  struct Hold {
    int64_t from_ns;
    int64_t until_ns;
    uint64_t entry;
  };
  using Holds = std::unordered_map<uint32_t, std::vector<Hold>>;

  void Say(const History& who, const std::string& what) {
    if (sentences_.size() >= kMostSentences) return;
    sentences_.push_back(
        absl::StrCat(who.is_owner ? "owner " : "worker ", who.incarnation, ": ", what));
  }

  // Rule 4, and the first half of 6.
  void CheckBlocks(const History& history) {
    Blocks blocks;
    std::set<uint32_t> dead;
    std::unordered_map<uint64_t, uint32_t> kept_in;
    for (const Event& e : history.events) {
      switch (e.what) {
        case What::kOpen:
          if (e.offset == 0) break;
          if (blocks.count(e.offset) > 0)
            Say(history, absl::StrCat("a block in use was allocated for ", Name(e)));
          blocks[e.offset] = {e.entry, true, {}};
          kept_in[e.entry] = e.offset;
          break;
        case What::kOffer:
          if (e.offset != 0) Lend(history, e, &blocks);
          break;
        case What::kBack:
        case What::kTakenBack:
          TakeIn(history, e, e.what == What::kTakenBack && dead.count(e.peer) == 0, &blocks);
          break;
        case What::kDone:
          if (auto kept = kept_in.find(e.entry); kept != kept_in.end()) {
            Block& block = blocks[kept->second];
            block.kept = false;
            if (block.Free()) blocks.erase(kept->second);
            kept_in.erase(kept);
          }
          break;
        case What::kDeath:
          dead.insert(e.peer);
          break;
        case What::kEnded:
        case What::kQuiet:
          CheckLeft(history, e, blocks);
          break;
        case What::kFault:
          Say(history, absl::StrCat("found fault ", e.value, " in an honest peer, ", e.peer));
          break;
        default:
          break;
      }
    }
  }

  void Lend(const History& history, const Event& e, Blocks* blocks) {
    auto found = blocks->find(e.offset);
    const bool fits = history.is_owner ? found != blocks->end() && found->second.entry == e.entry
                                       : found == blocks->end();
    if (!fits) Say(history, absl::StrCat("a block that is lent was used again for ", Name(e)));
    Block& block = (*blocks)[e.offset];
    block.entry = e.entry;
    ++block.lent[e.peer];
  }

  void TakeIn(const History& history, const Event& e, bool from_living, Blocks* blocks) {
    if (from_living) Say(history, absl::StrCat("took a block back from ", e.peer, ", which lived"));
    auto found = blocks->find(e.offset);
    if (found == blocks->end() || found->second.lent[e.peer] == 0) {
      return Say(history,
                 absl::StrCat("a block came back from ", e.peer, " that was not lent to it"));
    }
    --found->second.lent[e.peer];
    if (found->second.Free()) blocks->erase(found);
  }

  void CheckLeft(const History& history, const Event& e, const Blocks& blocks) {
    size_t lent = 0;
    for (const auto& [offset, block] : blocks) {
      auto to = block.lent.find(e.peer);
      if (e.what == What::kEnded) lent += to != block.lent.end() && to->second > 0;
    }
    if (lent > 0)
      Say(history, absl::StrCat(lent, " blocks are still lent to ", e.peer, ", which has ended"));
    const size_t expected = e.what == What::kEnded ? blocks.size() : 0;
    if (e.value != expected) {
      Say(history,
          absl::StrCat("blocks are leaked: ", e.value, " are taken instead of ", expected));
    }
  }

  // Rule 5, for an owner.
  void CheckEntries(const History& history) {
    struct Entry {
      int attempts = 0;
      uint32_t peer = 0;
      int done = 0;
    };
    std::unordered_map<uint64_t, Entry> entries;
    std::set<std::pair<uint64_t, uint8_t>> answered;
    bool quiet = false;
    for (const Event& e : history.events) {
      if (e.what == What::kOpen) entries[e.entry];
      if (e.what == What::kTook) answered.insert({e.entry, e.attempt});
      if (e.what == What::kOffer) {
        Entry& entry = entries[e.entry];
        if (e.attempt != entry.attempts)
          Say(history, absl::StrCat("sent again without counting: ", Name(e)));
        if (entry.done > 0) Say(history, absl::StrCat("sent again though it was done: ", Name(e)));
        entry.attempts = e.attempt + 1;
        entry.peer = e.peer;
      }
      if (e.what == What::kDone) {
        Entry& entry = entries[e.entry];
        if (++entry.done > 1) Say(history, absl::StrCat("done twice: ", Name(e)));
        if (e.attempt + 1 != entry.attempts || e.peer != entry.peer ||
            answered.count({e.entry, e.attempt}) == 0) {
          Say(history, absl::StrCat("done without an answer to its latest attempt: ", Name(e)));
        }
      }
      quiet = quiet || e.what == What::kQuiet;
    }
    if (!quiet) return;
    for (const auto& [id, entry] : entries) {
      if (entry.done == 0)
        Say(history,
            absl::StrCat("entry ", id >> 32, ".", id & UINT32_MAX, " is lost: never done"));
    }
  }

  // Rule 5, for a worker.
  void CheckAnswers(const History& history) {
    std::map<std::pair<uint64_t, uint8_t>, int> open;
    for (const Event& e : history.events) {
      int& count = open[{e.entry, e.attempt}];
      if (e.what == What::kTook) ++count;
      if (e.what == What::kOffer && count-- <= 0) {
        Say(history, absl::StrCat("an answer to what was not taken, or a second one: ", Name(e)));
      }
    }
  }

  // Rules 1 to 3 and the second half of 6, for what `from` sent `to`.
  void CheckDirection(const History& from, const History& to) {
    std::vector<const Event*> offers, published, woke;
    for (const Event& e : from.events) {
      if (e.peer != to.incarnation) continue;
      if (e.what == What::kOffer) offers.push_back(&e);
      if (e.what == What::kOffered) published.push_back(&e);
      if (e.what == What::kWoke) woke.push_back(&e);
    }
    size_t taken = 0;
    bool ended = false;
    std::unordered_map<uint64_t, const Event*> held;
    Holds holds;
    for (const Event& e : to.events) {
      if (e.peer != from.incarnation) continue;
      if (e.what == What::kTook) {
        CheckTaken(to, e, offers, taken++);
        held[e.entry << 8 | e.attempt] = &e;
      }
      if (e.what == What::kFinished) Finish(to, e, &held, &holds);
      if (e.what == What::kRescue) CheckRescue(to, e, published, woke);
      ended = ended || e.what == What::kEnded;
    }
    if (ended && taken < published.size()) {
      Say(to, absl::StrCat(published.size() - taken, " messages that ", from.incarnation,
                           " published are lost, from ", Name(*published[taken])));
    }
    for (const auto& [key, took] : held) {
      if (took->offset != 0 && to.killed_ns != 0) {
        holds[took->offset].push_back({took->time_ns, to.killed_ns, took->entry});
      }
    }
    CheckReuse(from, to, holds);
  }

  void CheckTaken(const History& to, const Event& took, const std::vector<const Event*>& offers,
                  size_t n) {
    const auto same = [&](const Event* offer) { return SameMessage(*offer, took); };
    if (n < offers.size() && same(offers[n])) {
      const Event& offer = *offers[n];
      if (took.digest != offer.digest || took.length != offer.length ||
          took.offset != offer.offset) {
        Say(to, absl::StrCat("the bytes are not those that were sent: ", Name(took)));
      }
      return;
    }
    const size_t before = std::min(n, offers.size());
    if (std::any_of(offers.begin(), offers.begin() + before, same)) {
      Say(to, absl::StrCat("taken twice: ", Name(took)));
    } else if (std::any_of(offers.begin() + before, offers.end(), same)) {
      Say(to, absl::StrCat("taken out of order: ", Name(took)));
    } else {
      Say(to, absl::StrCat("taken though nobody sent it: ", Name(took)));
    }
  }

  void Finish(const History& to, const Event& e, std::unordered_map<uint64_t, const Event*>* held,
              Holds* holds) {
    auto found = held->find(e.entry << 8 | e.attempt);
    if (found == held->end())
      return Say(to, absl::StrCat("finished what it does not hold: ", Name(e)));
    const Event& took = *found->second;
    if (e.digest != took.digest)
      Say(to, absl::StrCat("the bytes changed while they were held: ", Name(e)));
    if (took.offset != 0) (*holds)[took.offset].push_back({took.time_ns, e.time_ns, took.entry});
    held->erase(found);
  }

  void CheckReuse(const History& from, const History& to, const Holds& holds) {
    for (const Event& e : from.events) {
      if ((e.what != What::kOpen && e.what != What::kOffer) || e.offset == 0) continue;
      auto found = holds.find(e.offset);
      if (found == holds.end()) continue;
      for (const Hold& hold : found->second) {
        if (hold.from_ns < e.time_ns && e.time_ns < hold.until_ns && hold.entry != e.entry) {
          Say(from, absl::StrCat("used a block again that ", to.incarnation, " held: ", Name(e)));
        }
      }
    }
  }

  // A time-out beside a message is a lost wake-up only if its sender had finished waking: it may
  // have been killed, or have lost its core, in between.
  void CheckRescue(const History& to, const Event& rescue,
                   const std::vector<const Event*>& published,
                   const std::vector<const Event*>& woke) {
    if (rescue.value >= published.size()) return;
    const int64_t published_ns = published[rescue.value]->time_ns;
    const bool lost = std::any_of(woke.begin(), woke.end(), [&](const Event* wake) {
      return published_ns <= wake->time_ns && wake->time_ns < rescue.time_ns;
    });
    if (lost)
      Say(to, absl::StrCat("slept on beside a message of ", rescue.peer, ", which had woken it"));
  }

  absl::Span<const History> histories_;
  std::vector<std::string> sentences_;
};

}  // namespace

std::vector<std::string> CheckHistories(absl::Span<const History> histories) {
  return Judge(histories).Run();
}

}  // namespace millrace
