#include "services/ingress/http/index_request.h"

#include "common/check.h"
#include "services/ingress/http/body.h"

namespace millrace::http {

absl::Status IndexRequestParser::Parse(const std::string& body, bool* only_ready) {
  *only_ready = false;
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
    const FieldPath path{"", FieldPath::kNone, key};
    if (key != "ready") {
      status = reader_.Skip(value, 2);  // the root object is 1
    } else if (given) {
      status = FieldFault(path, "is given twice");
    } else {
      given = true;
      status = reader_.ReadBool(value, path, only_ready);
    }
    if (!status.ok()) return status;
  }
  return reader_.Finish();
}

}  // namespace millrace::http
