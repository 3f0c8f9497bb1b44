// A JSON or UBJSON document and typed access to it, with faults named by path.
//
// Purpose: XGBoost writes one document in two encodings. Here it is parsed under limits, and read
//   so that every complaint says where ("learner.gradient_booster.model.trees[3].id: ...").
// Who may call: one thread, inside the throw-away compiler process or a test.
// Invariants:
//   1. Numbers with a fraction become the nearest float32 of their text, as XGBoost reads them.
//   2. Nesting deeper than kMaxDepth and a key given twice are refused.
//   3. No exception of the JSON library leaves these functions.
// Fails: InvalidArgument; ResourceExhausted when memory runs out.
#pragma once

#include <stdint.h>

#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace millrace {

using Json =
    nlohmann::basic_json<std::map, std::vector, std::string, bool, int64_t, uint64_t, float>;

inline constexpr int kMaxDepth = 32;

absl::StatusOr<Json> ParseJsonText(std::string_view text);
absl::StatusOr<Json> ParseUbjson(std::string_view bytes);

// A value and where it stands.
struct Place {
  const Json* value;
  std::string path;
};

template <typename... Parts>
absl::Status Fault(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

#define MR_RETURN_IF_ERROR(expression)                                      \
  do {                                                                      \
    if (absl::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)

absl::StatusOr<Place> Member(const Place& object, const char* key);
// Null where there is none; `object` must be one.
const Json* FindMember(const Place& object, const char* key);
// Refuses members that are not listed: what a newer library added may change predictions.
absl::Status OnlyMembers(const Place& object, std::initializer_list<std::string_view> known);

absl::StatusOr<std::string> ReadText(const Place& object, const char* key);
// An integer in [low, high], written as a string (as XGBoost does) or as a number.
absl::StatusOr<int64_t> ReadInteger(const Place& object, const char* key, int64_t low,
                                    int64_t high);
absl::StatusOr<Place> ReadArray(const Place& object, const char* key);
// Booleans count as 0 and 1.
absl::StatusOr<std::vector<int64_t>> ReadIntegers(const Place& object, const char* key);
absl::StatusOr<std::vector<float>> ReadFloats(const Place& object, const char* key);

// The whole of `text` as an integer or a float32; nothing else may stand in it.
bool ParseInteger(std::string_view text, int64_t* out);
bool ParseFloat(std::string_view text, float* out);

}  // namespace millrace
