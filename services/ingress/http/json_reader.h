// Reading a request's JSON: strict, bounded, each fault with the name of its field.
//
// Purpose: a thin layer over simdjson's on-demand reader that turns its error codes into sentences
//   and makes sure that every value of a document is looked at (on-demand skips what it is not
//   asked for, so that a skipped value could be anything).
// Who may call: one thread; a reader reads one document at a time.
// Ownership: strings read live in the reader until the next Open; the text must outlive the reading
//   and stand in a buffer of kJsonPadding readable bytes more than its size.
// Invariants:
//   1. No value nests deeper than kMaxJsonDepth, and no recursion here goes deeper.
//   2. A string is unescaped once: the reader's buffer is sized for that.
// What fails: INVALID_ARGUMENT with "FIELD: what it must be" or "the body is not valid JSON: ...".
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "simdjson.h"

namespace millrace::http {

inline constexpr size_t kMaxJsonDepth = 100;
inline constexpr size_t kJsonPadding = simdjson::SIMDJSON_PADDING;

// Where a value stands: "inputs[3].shape", "instances[3]", "id". Rendered only for a fault.
struct FieldPath {
  static constexpr size_t kNone = static_cast<size_t>(-1);
  std::string_view list;
  size_t index = kNone;
  std::string_view member;

  std::string ToString() const;
};

absl::Status FieldFault(const FieldPath& path, std::string_view sentence);

class JsonReader {
 public:
  using Value = simdjson::ondemand::value;
  using Object = simdjson::ondemand::object;
  using Array = simdjson::ondemand::array;

  // Starts on `text` (size bytes, capacity >= size + kJsonPadding) and hands out the root object.
  absl::Status Open(const char* text, size_t size, size_t capacity, Object* root);
  // After the root object was read to its end: nothing may follow it.
  absl::Status Finish();

  absl::Status ReadString(Value value, const FieldPath& path, std::string_view* out);
  absl::Status ReadBool(Value value, const FieldPath& path, bool* out);
  // An integer of lo..hi.
  absl::Status ReadInt(Value value, const FieldPath& path, int64_t lo, int64_t hi, int64_t* out);
  absl::Status ReadArray(Value value, const FieldPath& path, Array* out);
  absl::Status ReadObject(Value value, const FieldPath& path, Object* out);
  // Reads a value nobody asked for to its end, so that it too must be JSON. `depth` is how deep the
  // value itself stands; the root object is 1.
  absl::Status Skip(Value value, size_t depth);
  // One member of an object that is being iterated.
  template <typename Field>
  absl::Status ReadMember(Field&& field, std::string_view* key, Value* value) {
    if (auto error = field.unescaped_key().get(*key)) return Broken(error);
    if (auto error = field.value().get(*value)) return Broken(error);
    return absl::OkStatus();
  }

  // The sentence for what simdjson found broken.
  absl::Status Broken(simdjson::error_code error);

 private:
  // The sentence for a value that `want` was expected of; broken JSON stays broken JSON.
  absl::Status Mismatch(simdjson::error_code error, const FieldPath& path, std::string_view want);

  simdjson::ondemand::parser parser_;
  simdjson::ondemand::document document_;
  const char* text_ = nullptr;
  size_t size_ = 0;
  bool open_ = false;
};

}  // namespace millrace::http
