#include "services/ingress/http/settings_request.h"

#include <limits>
#include <variant>
#include <vector>

#include "common/check.h"
#include "services/ingress/http/body.h"
#include "services/ingress/verbs.h"

namespace millrace::http {
namespace {

using Type = simdjson::ondemand::json_type;

// More values than a setting has meanings for.
constexpr size_t kMostValues = 16;

}  // namespace

template <typename Check>
absl::Status SettingsRequestParser::ForEach(const std::string& body, Check check) {
  if (body.empty()) return absl::OkStatus();
  MR_CHECK(body.capacity() >= body.size() + kBodyPadding, "a body has padding");
  JsonReader::Object root;
  absl::Status status = reader_.Open(body.data(), body.size(), body.capacity(), &root);
  if (!status.ok()) return status;
  for (auto field : root) {
    std::string_view key;
    JsonReader::Value value;
    status = reader_.ReadMember(field, &key, &value);
    if (status.ok()) status = check(key, value);
    if (!status.ok()) return status;
  }
  return reader_.Finish();
}

absl::Status SettingsRequestParser::CheckLog(const std::string& body) {
  return ForEach(body, [this](std::string_view key, JsonReader::Value value) {
    return CheckLogMember(key, value);
  });
}

absl::Status SettingsRequestParser::CheckTrace(const std::string& body) {
  return ForEach(body, [this](std::string_view key, JsonReader::Value value) {
    return CheckTraceMember(key, value);
  });
}

absl::Status SettingsRequestParser::CheckLogMember(std::string_view key, JsonReader::Value value) {
  const FieldPath path{"", FieldPath::kNone, key};
  Type type;
  if (auto error = value.type().get(type)) return reader_.Broken(error);
  absl::Status status;
  if (type == Type::boolean) {
    bool flag = false;
    status = reader_.ReadBool(value, path, &flag);
    return status.ok() ? CheckLogSetting(key, flag) : status;
  }
  if (type == Type::number) {
    int64_t number = 0;
    status = reader_.ReadInt(value, path, 0, std::numeric_limits<uint32_t>::max(), &number);
    return status.ok() ? CheckLogSetting(key, static_cast<uint32_t>(number)) : status;
  }
  if (type != Type::string) return FieldFault(path, "must be a boolean, a number or a string");
  std::string_view text;
  status = reader_.ReadString(value, path, &text);
  return status.ok() ? CheckLogSetting(key, std::string(text)) : status;
}

// A string, an array of strings, or null: as it is without a setting.
absl::Status SettingsRequestParser::CheckTraceMember(std::string_view key,
                                                     JsonReader::Value value) {
  const FieldPath path{"", FieldPath::kNone, key};
  Type type;
  if (auto error = value.type().get(type)) return reader_.Broken(error);
  std::vector<std::string> values;
  std::string_view text;
  if (type == Type::array) {
    JsonReader::Array array;
    if (absl::Status status = reader_.ReadArray(value, path, &array); !status.ok()) return status;
    for (auto element : array) {
      if (auto error = element.get(value)) return reader_.Broken(error);
      absl::Status status = reader_.ReadString(value, path, &text);
      if (!status.ok()) return status;
      if (values.size() == kMostValues) return FieldFault(path, "has too many values");
      values.emplace_back(text);
    }
    // An empty list is no wish to go back to what was.
    if (values.empty()) return FieldFault(path, "must not be empty");
  } else if (type == Type::null) {
    bool null = false;
    if (auto error = value.is_null().get(null)) return reader_.Broken(error);
  } else {
    absl::Status status = reader_.ReadString(value, path, &text);
    if (!status.ok()) return status;
    values.emplace_back(text);
  }
  return CheckTraceSetting(key, values);
}

}  // namespace millrace::http
