// The catalog as ingress uses it: look-up by name and version, and the check of a request.
//
// Purpose: everything that can be said about a request without sending it anywhere.
// Who may call: Make any thread; the rest any number of threads (immutable).
// Ownership: a table keeps its catalog; a ServedModel lives as long as its table.
// Invariants: 1. a CheckedRequest fits the model's signature in names, datatypes, shapes, sizes;
//   what only the bytes can tell (a string's length) is the view's to check.
//   2. Sizes are computed without overflow and bound what each stage writes.
// What fails: Check with INVALID_ARGUMENT and the field, NOT_FOUND for a model, RESOURCE_EXHAUSTED
//   for a request or an answer over the limit.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "ipc/tensor_pack.h"
#include "services/ingress/frontend.h"

namespace millrace {

struct ServedModel {
  struct RawColumn {
    std::string name;
    bool text = false;
  };
  const Model* model = nullptr;
  std::vector<RawColumn> columns;           // of its view, in order of first use
  std::vector<const ServedModel*> members;  // itself for a plain model
  size_t view_width = 0;
  size_t place = 0;  // among the table's models

  // Bounds of one result block: a member's at execution, the last one at aggregation.
  size_t ExecutionBytes(size_t rows, uint32_t outputs) const;
  size_t AggregationBytes(size_t rows, uint32_t outputs) const;
  size_t FeaturesBytes(size_t rows) const;
};

struct CheckedRequest {
  const ServedModel* model = nullptr;
  uint32_t rows = 0;
  bool raw_columns = false;  // else the ready tensor
  bool needs_aggregation = false;
  uint32_t outputs = 0;                          // 1 << OutputKind
  absl::InlinedVector<uint8_t, 8> output_order;  // places among the model's outputs, as asked for
  absl::InlinedVector<uint16_t, 16> pack_names;  // for each input of the request
};

class ModelTable {
 public:
  static std::shared_ptr<const ModelTable> Make(std::shared_ptr<const Catalog> catalog);

  const std::shared_ptr<const Catalog>& catalog() const { return catalog_; }
  size_t size() const { return models_.size(); }
  const ServedModel& at(size_t place) const { return *models_[place]; }
  // NOT_FOUND names what is not there. An empty version: the latest.
  absl::StatusOr<const ServedModel*> Find(std::string_view name, std::string_view version) const;
  // The same; null where it is not there. Allocates nothing.
  const ServedModel* Lookup(std::string_view name, std::string_view version) const;
  bool Has(std::string_view name, std::string_view version) const {
    return Lookup(name, version) != nullptr;
  }
  // Into `checked`, which is as it was made; it holds nothing sensible after a failure.
  absl::Status Check(const InferRequest& request, CheckedRequest* checked) const;

 private:
  // By the request's memo, where that is still right; else as Find.
  absl::StatusOr<const ServedModel*> FindOf(const InferRequest& request) const;

  uint64_t number_ = 0;  // no other table of this process has it
  std::shared_ptr<const Catalog> catalog_;
  std::vector<std::unique_ptr<ServedModel>> models_;
  absl::flat_hash_map<std::string, std::vector<const ServedModel*>> by_name_;
};

}  // namespace millrace
