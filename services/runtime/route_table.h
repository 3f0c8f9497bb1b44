// What a worker keeps for each route: of the newest catalog, and of the one before it.
//
// Purpose: a request ends by the catalog it began with; a route's number is never given twice, so
//   looking in both tables cannot confuse two models. Who may call: the lane's thread.
// Invariant: two catalogs' worth of entries are kept, no more. Nothing fails.
#pragma once

#include <stdint.h>

#include <memory>
#include <unordered_map>
#include <utility>

namespace millrace {

template <typename T>
class RouteTable {
 public:
  using Routes = std::unordered_map<uint32_t, std::shared_ptr<T>>;

  void Use(Routes routes) { before_ = std::exchange(now_, std::move(routes)); }

  // What only the catalog before had: nobody asks for it any more.
  Routes TakeBefore() { return std::exchange(before_, Routes()); }

  // Null for a route of neither catalog.
  T* Find(uint32_t route) const {
    for (const Routes* routes : {&now_, &before_}) {
      auto found = routes->find(route);
      if (found != routes->end()) return found->second.get();
    }
    return nullptr;
  }

 private:
  Routes now_;
  Routes before_;
};

}  // namespace millrace
