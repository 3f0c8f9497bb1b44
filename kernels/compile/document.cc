#include "kernels/compile/document.h"

#include <algorithm>
#include <charconv>
#include <exception>
#include <limits>
#include <new>
#include <optional>

#include "absl/strings/escaping.h"

namespace millrace {
namespace {

// Builds the document from the parser's events, because only there can depth be limited before the
// recursive UBJSON reader has used up the stack.
class Builder : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(Json* root) : root_(root) {}

  const std::string& fault() const { return fault_; }

  bool null() override { return Put(Json()) != nullptr; }
  bool boolean(bool value) override { return Put(value) != nullptr; }
  bool number_integer(int64_t value) override { return Put(value) != nullptr; }
  bool number_unsigned(uint64_t value) override { return Put(value) != nullptr; }
  bool number_float(float value, const std::string&) override { return Put(value) != nullptr; }
  bool string(std::string& value) override { return Put(std::move(value)) != nullptr; }
  bool binary(Json::binary_t&) override { return Refuse("binary values do not occur in a model"); }
  bool start_object(size_t) override { return Enter(Json::object()); }
  bool start_array(size_t) override { return Enter(Json::array()); }
  bool end_object() override { return Leave(); }
  bool end_array() override { return Leave(); }

  bool key(std::string& key) override {
    auto [it, added] = open_.back()->get_ref<Json::object_t&>().emplace(key, Json());
    if (!added)
      return Refuse(
          absl::StrCat("the key \"", absl::CHexEscape(key), "\" is given twice in an object"));
    slot_ = &it->second;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const Json::exception& error) override {
    return Refuse(absl::StrCat("byte ", position, ": ", error.what()));
  }

 private:
  bool Refuse(std::string why) {
    fault_ = std::move(why);
    return false;
  }

  Json* Put(Json value) {
    Json* place = root_;
    if (!open_.empty() && open_.back()->is_array()) {
      place = &open_.back()->get_ref<Json::array_t&>().emplace_back();
    } else if (!open_.empty()) {
      place = slot_;
    }
    *place = std::move(value);
    return place;
  }

  bool Enter(Json container) {
    if (open_.size() == kMaxDepth) {
      return Refuse(absl::StrCat("nested deeper than ", kMaxDepth, " levels"));
    }
    open_.push_back(Put(std::move(container)));
    return true;
  }

  bool Leave() {
    open_.pop_back();
    return true;
  }

  Json* const root_;
  Json* slot_ = nullptr;     // where the value of the last key goes
  std::vector<Json*> open_;  // stays valid: a container does not grow while a child is open
  std::string fault_;
};

absl::StatusOr<Json> Parse(std::string_view bytes, Json::input_format_t format) {
  if (bytes.empty()) return absl::InvalidArgumentError("the model file is empty");
  try {
    Json root;
    Builder builder(&root);
    if (!Json::sax_parse(bytes.begin(), bytes.end(), &builder, format)) {
      return Fault("not a well-formed document: ", builder.fault());
    }
    return root;
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("the model does not fit the compiler's memory limit");
  } catch (const std::exception& error) {
    return Fault("not a well-formed document: ", error.what());
  }
}

// XGBoost writes NaN and Infinity bare, which is not JSON. They become strings, which ReadFloats()
// understands. Nothing where there are none.
std::optional<std::string> QuoteNonFinite(std::string_view text) {
  std::optional<std::string> out;
  size_t copied = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == 'N' || c == 'I') {
      const std::string_view word = c == 'N' ? "NaN" : "Infinity";
      if (text.substr(i, word.size()) != word) continue;
      const size_t start = i > 0 && text[i - 1] == '-' ? i - 1 : i;
      if (!out.has_value()) out.emplace();
      out->append(text.substr(copied, start - copied));
      copied = i + word.size();
      out->append("\"").append(text.substr(start, copied - start)).append("\"");
      i = copied - 1;
    }
  }
  if (out.has_value()) out->append(text.substr(copied));
  return out;
}

bool FloatOf(const Json& value, float* out) {
  if (value.is_number()) {
    *out = value.get<float>();
    return true;
  }
  if (!value.is_string()) return false;
  const std::string& text = value.get_ref<const std::string&>();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (text == "NaN" || text == "-NaN") return *out = std::numeric_limits<float>::quiet_NaN(), true;
  if (text == "Infinity") return *out = kInfinity, true;
  if (text == "-Infinity") return *out = -kInfinity, true;
  return false;
}

// What stands there, for a message: a short string as itself, anything else by its type.
std::string Describe(const Json& value) {
  if (!value.is_string() || value.get_ref<const std::string&>().size() > 40) {
    return value.type_name();
  }
  return absl::StrCat("\"", absl::CHexEscape(value.get_ref<const std::string&>()), "\"");
}

bool IntegerOf(const Json& value, int64_t* out) {
  if (value.is_boolean()) {
    *out = value.get<bool>() ? 1 : 0;
    return true;
  }
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX) return false;
  *out = value.get<int64_t>();
  return true;
}

}  // namespace

absl::StatusOr<Json> ParseJsonText(std::string_view text) {
  try {
    const std::optional<std::string> quoted = QuoteNonFinite(text);
    return Parse(quoted.has_value() ? *quoted : text, Json::input_format_t::json);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("the model does not fit the compiler's memory limit");
  }
}

absl::StatusOr<Json> ParseUbjson(std::string_view bytes) {
  return Parse(bytes, Json::input_format_t::ubjson);
}

const Json* FindMember(const Place& object, const char* key) {
  const auto& members = object.value->get_ref<const Json::object_t&>();
  const auto it = members.find(key);
  return it == members.end() ? nullptr : &it->second;
}

absl::StatusOr<Place> Member(const Place& object, const char* key) {
  if (!object.value->is_object()) {
    return Fault(object.path.empty() ? "the document" : object.path, ": must be an object, is ",
                 object.value->type_name());
  }
  std::string path = object.path.empty() ? key : absl::StrCat(object.path, ".", key);
  const Json* value = FindMember(object, key);
  if (value == nullptr) return Fault(path, ": is missing");
  return Place{value, std::move(path)};
}

absl::Status OnlyMembers(const Place& object, std::initializer_list<std::string_view> known) {
  if (!object.value->is_object()) {
    return Fault(object.path, ": must be an object, is ", object.value->type_name());
  }
  for (const auto& [key, value] : object.value->get_ref<const Json::object_t&>()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      return Fault(object.path, ".", absl::CHexEscape(key), ": is not supported");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadText(const Place& object, const char* key) {
  const absl::StatusOr<Place> place = Member(object, key);
  if (!place.ok()) return place.status();
  if (!place->value->is_string()) {
    return Fault(place->path, ": must be a string, is ", place->value->type_name());
  }
  return place->value->get<std::string>();
}

absl::StatusOr<int64_t> ReadInteger(const Place& object, const char* key, int64_t low,
                                    int64_t high) {
  const absl::StatusOr<Place> place = Member(object, key);
  if (!place.ok()) return place.status();
  int64_t number = 0;
  const Json& value = *place->value;
  const bool read = value.is_string() ? ParseInteger(value.get_ref<const std::string&>(), &number)
                                      : IntegerOf(value, &number);
  if (!read) return Fault(place->path, ": must be an integer, is ", Describe(value));
  if (number < low || number > high) {
    return Fault(place->path, ": ", number, " is not in ", low, " to ", high);
  }
  return number;
}

absl::StatusOr<Place> ReadArray(const Place& object, const char* key) {
  absl::StatusOr<Place> place = Member(object, key);
  if (place.ok() && !place->value->is_array()) {
    return Fault(place->path, ": must be an array, is ", place->value->type_name());
  }
  return place;
}

absl::StatusOr<std::vector<int64_t>> ReadIntegers(const Place& object, const char* key) {
  const absl::StatusOr<Place> place = ReadArray(object, key);
  if (!place.ok()) return place.status();
  std::vector<int64_t> out(place->value->size());
  for (size_t i = 0; i < out.size(); ++i) {
    if (!IntegerOf((*place->value)[i], &out[i])) {
      return Fault(place->path, "[", i, "]: must be an integer, is ", Describe((*place->value)[i]));
    }
  }
  return out;
}

absl::StatusOr<std::vector<float>> ReadFloats(const Place& object, const char* key) {
  const absl::StatusOr<Place> place = ReadArray(object, key);
  if (!place.ok()) return place.status();
  std::vector<float> out(place->value->size());
  for (size_t i = 0; i < out.size(); ++i) {
    if (!FloatOf((*place->value)[i], &out[i])) {
      return Fault(place->path, "[", i, "]: must be a number, is ", Describe((*place->value)[i]));
    }
  }
  return out;
}

bool ParseInteger(std::string_view text, int64_t* out) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *out);
  return error == std::errc() && stop == end;
}

bool ParseFloat(std::string_view text, float* out) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *out);
  return error == std::errc() && stop == end;
}

}  // namespace millrace
