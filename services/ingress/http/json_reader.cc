#include "services/ingress/http/json_reader.h"

#include "common/check.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

std::string_view Reason(simdjson::error_code error) {
  switch (error) {
    case simdjson::EMPTY:
      return "it is empty";
    case simdjson::UTF8_ERROR:
      return "it is not UTF-8";
    case simdjson::UNESCAPED_CHARS:
      return "a string holds an unescaped control character";
    case simdjson::UNCLOSED_STRING:
      return "a string does not end";
    case simdjson::STRING_ERROR:
      return "a string holds a bad escape";
    case simdjson::NUMBER_ERROR:
      return "a number is malformed or beyond a double";
    case simdjson::INCOMPLETE_ARRAY_OR_OBJECT:
      return "an object or array does not end";
    case simdjson::DEPTH_ERROR:
      return "it nests deeper than 100 levels";
    case simdjson::CAPACITY:
    case simdjson::MEMALLOC:
      return "it is too large";
    default:
      return "a comma, colon, brace or value is missing, malformed or misplaced";
  }
}

}  // namespace

std::string FieldPath::ToString() const {
  std::string text(list);
  if (index != kNone) Append(&text, "[", index, "]");
  if (!member.empty()) Append(&text, text.empty() ? "" : ".", member);
  return text;
}

absl::Status FieldFault(const FieldPath& path, std::string_view sentence) {
  return BadInput(path.ToString(), ": ", sentence);
}

absl::Status JsonReader::Open(const char* text, size_t size, size_t capacity, Object* root) {
  MR_CHECK(capacity >= size + kJsonPadding, "simdjson reads past the end of the text");
  text_ = text;
  size_ = size;
  open_ = false;
  const auto error =
      parser_.iterate(simdjson::padded_string_view(text, size, capacity)).get(document_);
  if (error) return Broken(error);
  open_ = true;
  if (auto wrong = document_.get_object().get(*root)) {
    if (wrong == simdjson::INCORRECT_TYPE) {
      return absl::InvalidArgumentError("the body must be a JSON object");
    }
    return Broken(wrong);
  }
  return absl::OkStatus();
}

absl::Status JsonReader::Finish() {
  MR_CHECK(open_, "a document is finished after it was opened");
  // There is no other way to ask on-demand whether all was read.
  if (document_.current_location().error() == simdjson::OUT_OF_BOUNDS) return absl::OkStatus();
  return absl::InvalidArgumentError("the body is not valid JSON: something follows the object");
}

absl::Status JsonReader::Broken(simdjson::error_code error) {
  std::string sentence = Concat("the body is not valid JSON: ", Reason(error));
  const char* at = nullptr;
  if (open_ && !document_.current_location().get(at) && at >= text_ && at < text_ + size_) {
    Append(&sentence, ", near byte ", at - text_);
  }
  return absl::InvalidArgumentError(sentence);
}

absl::Status JsonReader::Mismatch(simdjson::error_code error, const FieldPath& path,
                                  std::string_view want) {
  if (error == simdjson::INCORRECT_TYPE || error == simdjson::NUMBER_ERROR) {
    return FieldFault(path, want);
  }
  return Broken(error);
}

absl::Status JsonReader::ReadString(Value value, const FieldPath& path, std::string_view* out) {
  const auto error = value.get_string().get(*out);
  return error ? Mismatch(error, path, "must be a string") : absl::OkStatus();
}

absl::Status JsonReader::ReadBool(Value value, const FieldPath& path, bool* out) {
  const auto error = value.get_bool().get(*out);
  return error ? Mismatch(error, path, "must be true or false") : absl::OkStatus();
}

absl::Status JsonReader::ReadInt(Value value, const FieldPath& path, int64_t lo, int64_t hi,
                                 int64_t* out) {
  const auto error = value.get_int64().get(*out);
  if (!error && *out >= lo && *out <= hi) return absl::OkStatus();
  const std::string want = Concat("must be an integer from ", lo, " to ", hi);
  return error ? Mismatch(error, path, want) : FieldFault(path, want);
}

absl::Status JsonReader::ReadArray(Value value, const FieldPath& path, Array* out) {
  const auto error = value.get_array().get(*out);
  return error ? Mismatch(error, path, "must be an array") : absl::OkStatus();
}

absl::Status JsonReader::ReadObject(Value value, const FieldPath& path, Object* out) {
  const auto error = value.get_object().get(*out);
  return error ? Mismatch(error, path, "must be an object") : absl::OkStatus();
}

absl::Status JsonReader::Skip(Value value, size_t depth) {
  if (depth > kMaxJsonDepth) return Broken(simdjson::DEPTH_ERROR);
  simdjson::ondemand::json_type type;
  if (auto error = value.type().get(type)) return Broken(error);
  simdjson::error_code error = simdjson::SUCCESS;
  switch (type) {
    case simdjson::ondemand::json_type::array: {
      Array array;
      if ((error = value.get_array().get(array))) break;
      for (auto element : array) {
        Value child;
        if (auto broken = element.get(child)) return Broken(broken);
        if (absl::Status status = Skip(child, depth + 1); !status.ok()) return status;
      }
      return absl::OkStatus();
    }
    case simdjson::ondemand::json_type::object: {
      Object object;
      if ((error = value.get_object().get(object))) break;
      for (auto field : object) {
        std::string_view key;
        Value child;
        if (absl::Status status = ReadMember(field, &key, &child); !status.ok()) return status;
        if (absl::Status status = Skip(child, depth + 1); !status.ok()) return status;
      }
      return absl::OkStatus();
    }
    case simdjson::ondemand::json_type::number:
      error = value.get_double().error();
      break;
    case simdjson::ondemand::json_type::string:
      error = value.get_string().error();
      break;
    case simdjson::ondemand::json_type::boolean:
      error = value.get_bool().error();
      break;
    case simdjson::ondemand::json_type::null: {
      bool null = false;
      error = value.is_null().get(null);
      if (!error && !null) error = simdjson::TAPE_ERROR;
      break;
    }
  }
  return error ? Broken(error) : absl::OkStatus();
}

}  // namespace millrace::http
