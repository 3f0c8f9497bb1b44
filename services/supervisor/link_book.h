// Which lanes must be linked, and which links stand.
//
// Purpose: the book of the broker: whom a new lane meets, to whom a half goes, when a lane is
// linked
//   with everybody. Who may call: the supervisor's main thread; no I/O happens here.
// Words: the *owner* of a lane is its process (by its key). A link is directed, producer to
//   consumer; both ends make a half of it and both say when it is up.
// Invariants:
//   1. For every two lanes in the book and every edge of the topology between them there is exactly
//      one link. 2. Only the owner of an end moves a link on. 3. A removed lane takes its links
//      with it, so nobody waits for a dead one.
#pragma once

#include <stdint.h>

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "ipc/topology.h"

namespace millrace {

struct BookLane {
  uint32_t incarnation = 0;
  Stage stage = Stage::kNone;
  uint32_t owner = 0;
};

class LinkBook {
 public:
  // Returns the lanes of other processes that the new one must be linked with.
  std::vector<BookLane> Add(const BookLane& lane);

  // Returns the owners that knew the lane by a link, each once.
  std::vector<uint32_t> Remove(uint32_t incarnation);

  // The owner of the other end, to whom a half goes; 0 where `sender` owns no end of such a link.
  uint32_t OtherEnd(uint32_t producer, uint32_t consumer, uint32_t sender) const;

  // One end says that the link is up. False where `sender` owns no end of such a link.
  bool MarkUp(uint32_t producer, uint32_t consumer, uint32_t sender);

  // Whether every link of the lane is up at both ends, but for those with lanes of `but`.
  bool Connected(uint32_t incarnation, const std::set<uint32_t>& but = {}) const;

  // Whether a link joins a lane of `owner` and the lane.
  bool Linked(uint32_t owner, uint32_t incarnation) const;

  size_t link_count() const { return links_.size(); }

 private:
  struct Link {
    uint32_t producer_owner;
    uint32_t consumer_owner;
    bool producer_up = false;
    bool consumer_up = false;
  };

  std::map<uint32_t, BookLane> lanes_;
  std::map<std::pair<uint32_t, uint32_t>, Link> links_;  // by (producer, consumer)
};

}  // namespace millrace
