#include "services/supervisor/link_book.h"

#include <algorithm>

#include "common/check.h"

namespace millrace {

std::vector<BookLane> LinkBook::Add(const BookLane& lane) {
  MR_CHECK(lane.incarnation != 0 && lane.owner != 0, "a lane has an incarnation and an owner");
  std::vector<BookLane> peers;
  for (const auto& [incarnation, other] : lanes_) {
    if (other.owner == lane.owner) continue;
    const bool out = IsEdge(lane.stage, other.stage);
    const bool in = IsEdge(other.stage, lane.stage);
    if (out) links_[{lane.incarnation, incarnation}] = Link{lane.owner, other.owner};
    if (in) links_[{incarnation, lane.incarnation}] = Link{other.owner, lane.owner};
    if (out || in) peers.push_back(other);
  }
  MR_CHECK(lanes_.emplace(lane.incarnation, lane).second, "an incarnation is announced once");
  return peers;
}

std::vector<uint32_t> LinkBook::Remove(uint32_t incarnation) {
  std::vector<uint32_t> owners;
  for (auto it = links_.begin(); it != links_.end();) {
    const auto& [producer, consumer] = it->first;
    if (producer != incarnation && consumer != incarnation) {
      ++it;
      continue;
    }
    owners.push_back(producer == incarnation ? it->second.consumer_owner
                                             : it->second.producer_owner);
    it = links_.erase(it);
  }
  lanes_.erase(incarnation);
  std::sort(owners.begin(), owners.end());
  owners.erase(std::unique(owners.begin(), owners.end()), owners.end());
  return owners;
}

uint32_t LinkBook::OtherEnd(uint32_t producer, uint32_t consumer, uint32_t sender) const {
  const auto it = links_.find({producer, consumer});
  if (it == links_.end()) return 0;
  if (it->second.producer_owner == sender) return it->second.consumer_owner;
  if (it->second.consumer_owner == sender) return it->second.producer_owner;
  return 0;
}

bool LinkBook::MarkUp(uint32_t producer, uint32_t consumer, uint32_t sender) {
  const auto it = links_.find({producer, consumer});
  if (it == links_.end()) return false;
  Link& link = it->second;
  if (link.producer_owner == sender) {
    link.producer_up = true;
  } else if (link.consumer_owner == sender) {
    link.consumer_up = true;
  } else {
    return false;
  }
  return true;
}

bool LinkBook::Connected(uint32_t incarnation, const std::set<uint32_t>& but) const {
  for (const auto& [ends, link] : links_) {
    if (ends.first != incarnation && ends.second != incarnation) continue;
    const bool produces = ends.first == incarnation;
    if (but.count(produces ? link.consumer_owner : link.producer_owner) > 0) continue;
    if (!link.producer_up || !link.consumer_up) return false;
  }
  return lanes_.count(incarnation) > 0;
}

bool LinkBook::Linked(uint32_t owner, uint32_t incarnation) const {
  for (const auto& [ends, link] : links_) {
    if (ends.first == incarnation && link.consumer_owner == owner) return true;
    if (ends.second == incarnation && link.producer_owner == owner) return true;
  }
  return false;
}

}  // namespace millrace
