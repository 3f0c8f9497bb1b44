// The `inputs` of an Open Inference Protocol request: from JSON, or from the binary part after it.
//
// Purpose: the half of InferParser (infer_parser.h) that turns inputs into tensors.
// Who may call: the parser, in this order for each request: Reset, Read, then (the document being
//   read to its end) PlaceBinary and HandOut.
// Ownership: keeps the elements of JSON tensors and the shapes; names live in the reader, binary
//   tensors in the body.
// Invariants: those of infer_parser.h.
// What fails: INVALID_ARGUMENT that names the field.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "services/ingress/client_shm/regions.h"
#include "services/ingress/http/json_reader.h"
#include "services/ingress/http/parsed_infer.h"

namespace millrace::http {

// Which members an object had, to refuse one given twice.
class Once {
 public:
  absl::Status Take(uint32_t bit, const FieldPath& path) {
    if (seen_ & bit) return FieldFault(path, "is given twice");
    seen_ |= bit;
    return absl::OkStatus();
  }
  bool has(uint32_t bit) const { return seen_ & bit; }

 private:
  uint32_t seen_ = 0;
};

// Depths of values in the document; the root object stands at 1.
inline constexpr size_t kMemberDepth = 2;         // {"x": HERE}
inline constexpr size_t kElementMemberDepth = 4;  // {"inputs": [{"x": HERE}]}
inline constexpr size_t kParameterDepth = 5;      // {"inputs": [{"parameters": {"x": HERE}}]}

// The parameters of a tensor that lies in a client's shared memory.
struct RegionParameters {
  std::optional<std::string_view> region;
  std::optional<int64_t> bytes;
  int64_t offset = 0;

  bool given() const { return region.has_value() || bytes.has_value() || offset != 0; }
  // INVALID_ARGUMENT where they are given and not complete. `list`, `index`: whose they are.
  absl::Status Check(std::string_view list, size_t index) const;
};

inline bool IsRegionParameter(std::string_view key) { return key.starts_with("shared_memory_"); }
absl::Status ReadRegionParameter(JsonReader* reader, JsonReader::Value value, std::string_view list,
                                 size_t index, std::string_view key, RegionParameters* out);
// A status of ClientRegions with the tensor's place before it.
absl::Status RegionFault(const absl::Status& status, std::string_view list, size_t index);

// Parameters that ask for something else than a plain inference of what the request holds.
bool ChangesTheResult(std::string_view key);

class InferInputs {
 public:
  explicit InferInputs(JsonReader* reader) : reader_(reader) {}

  // Borrowed; without any a tensor in shared memory is UNIMPLEMENTED.
  void set_regions(const ClientRegions* regions) { regions_ = regions; }

  // `json_bytes`: the size of the document.
  void Reset(size_t json_bytes);
  absl::Status Read(JsonReader::Value value);
  absl::Status PlaceBinary(std::string_view binary);
  void HandOut(std::string_view binary, ParsedInfer* out) const;

 private:
  struct Input {
    std::string_view name;
    DataType datatype = DataType::kInvalid;
    std::vector<int64_t> shape;
    size_t count = 0;       // elements
    bool has_data = false;  // its bytes are in raw_: from JSON or from shared memory
    std::optional<size_t> binary_bytes;
    RegionParameters region;
    size_t begin = 0;  // in raw_, or in the binary part
    size_t bytes = 0;
  };

  absl::Status ReadInput(JsonReader::Object object, size_t index);
  absl::Status ReadMember(std::string_view key, JsonReader::Value value, size_t index, Once* once);
  absl::Status ReadShape(JsonReader::Value value, size_t index);
  absl::Status ReadParameters(JsonReader::Value value, size_t index);
  absl::Status ReadData(JsonReader::Value value, size_t index);
  absl::Status CheckInput(const Once& once, size_t index);
  absl::Status ReadRegion(size_t index);

  JsonReader* reader_;
  const ClientRegions* regions_ = nullptr;
  size_t region_bytes_ = 0;  // read from shared memory for this request
  size_t json_bytes_ = 0;
  std::string raw_;  // the elements of all tensors in JSON or shared memory, one after the other
  std::vector<Input> inputs_;  // as many as ever came, kept for the capacity of the shapes
  size_t count_ = 0;           // of this request
  absl::flat_hash_set<std::string_view> names_;
};

}  // namespace millrace::http
