#include "services/ingress/http/change_request.h"

#include "common/check.h"
#include "services/ingress/http/body.h"
#include "services/ingress/verbs.h"

namespace millrace::http {

absl::Status ChangeRequestParser::Parse(const std::string& body, ModelChange* change) {
  if (body.empty()) return absl::OkStatus();
  MR_CHECK(body.capacity() >= body.size() + kBodyPadding, "a body has padding");
  JsonReader::Object root;
  absl::Status status = reader_.Open(body.data(), body.size(), body.capacity(), &root);
  if (!status.ok()) return status;
  bool given = false;
  for (auto field : root) {
    std::string_view key;
    JsonReader::Value value;
    status = reader_.ReadMember(field, &key, &value);
    if (!status.ok()) return status;
    if (key != "parameters") {
      status = reader_.Skip(value, 2);  // the root object is 1
    } else if (given) {
      status = FieldFault({"", FieldPath::kNone, key}, "is given twice");
    } else {
      given = true;
      status = ReadParameters(value, change);
    }
    if (!status.ok()) return status;
  }
  return reader_.Finish();
}

absl::Status ChangeRequestParser::ReadParameters(JsonReader::Value value, ModelChange* change) {
  JsonReader::Object object;
  absl::Status status = reader_.ReadObject(value, {"", FieldPath::kNone, "parameters"}, &object);
  if (!status.ok()) return status;
  for (auto field : object) {
    std::string_view key;
    status = reader_.ReadMember(field, &key, &value);
    // The one that may be there is a boolean, which the reader checks.
    if (status.ok()) status = CheckChangeParameter(change->kind, key, true);
    if (status.ok()) {
      status = reader_.ReadBool(value, {"parameters", FieldPath::kNone, key},
                                &change->unload_dependents);
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace millrace::http
