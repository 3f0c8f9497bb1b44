// Routes as ingress uses them: a name and what a request brings, to a version.
//
// Purpose: compile Routes (ipc/routes.proto) once, off the path of requests, into a form that is
//   looked up without an allocation. Who may call: Make any thread; the rest any number of threads
//   (immutable).
// Ownership: everything that a table hands out lives as long as the table.
// Invariants:
//   1. The same key goes to the same target as long as the weights do not move past it. Targets but
//      the first take their share from the end of the keys, in order; the first has the rest. So
//      with two targets a key only ever moves to the one that grows.
//   2. Keys of two routes are independent of each other, and so are a shadow's.
//   3. A rule is met where all of its conditions are; the first that is met counts.
// Nothing fails: the registry checked the routes; a part that cannot be right all the same is left
// out.
#pragma once

#include <stdint.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/datatype.h"
#include "ipc/routes.pb.h"
#include "services/ingress/frontend.h"

namespace millrace {

inline constexpr uint32_t kRouteParts = 10'000;

// One row of outputs that answers where nothing else can.
struct ConstantOutput {
  std::string name;
  DataType datatype = DataType::kInvalid;
  int64_t columns = 0;
  std::string row;  // as in a tensor
};

struct CompiledFallback {
  std::string model, version;  // empty: a constant
  std::vector<ConstantOutput> constant;
  std::string said;  // in the answer: "churn/2", "constant"

  bool is_constant() const { return model.empty(); }
};

struct CompiledTarget {
  std::string model, version;
  uint32_t parts = 0;
};

struct CompiledShadow {
  std::string model, version, beside;
  uint32_t parts = 0;
};

struct CompiledRule {
  std::string name;  // of its route: what the client asked for
  std::string label;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string path;
  std::vector<std::string> tenants;
  std::vector<CompiledTarget> targets;  // none: the latest
  std::vector<CompiledShadow> shadows;
  std::vector<CompiledFallback> fallbacks;
  uint32_t parts = 0;      // the sum of the targets'
  bool needs_key = false;  // which client asks decides something

  bool Fits(const RouteQuestion& question) const;
  // `key`: RouteKey. Null: the latest.
  const CompiledTarget* Pick(uint64_t key) const;
};

class RoutingTable {
 public:
  static std::shared_ptr<const RoutingTable> Make(const Routes& routes);

  uint64_t generation() const { return generation_; }
  bool empty() const { return routes_.empty(); }
  bool Has(std::string_view name) const { return FindRules(name) != nullptr; }
  // The rule that the request meets; null: none, or there is no such route.
  const CompiledRule* Find(const RouteQuestion& question) const;
  // Whether some rule is for requests below this prefix.
  bool NamesPath(std::string_view prefix) const;

 private:
  const std::vector<CompiledRule>* FindRules(std::string_view name) const;

  uint64_t generation_ = 0;
  absl::flat_hash_map<std::string, std::vector<CompiledRule>> routes_;
  std::vector<std::string> paths_;
};

// A number that is even over all keys: of this client, at this route.
uint64_t RouteKey(std::string_view route, std::string_view client_key);
// Of a request that names nobody: the n-th of them.
uint64_t RouteKeyOfNobody(uint64_t n);
// Whether a share of so many parts takes this key.
bool TakesShare(uint64_t key, std::string_view salt, uint32_t parts);

// The outputs that were asked for (none: all), each with so many rows; the bytes lie in `storage`.
// False: the constant lacks one.
bool ExpandConstant(const std::vector<ConstantOutput>& constant,
                    absl::Span<const std::string_view> asked, int64_t rows,
                    std::vector<TensorView>* outputs, std::vector<std::string>* storage,
                    std::vector<std::array<int64_t, 2>>* shapes);

}  // namespace millrace
