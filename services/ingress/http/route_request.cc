#include "services/ingress/http/route_request.h"

#include "common/check.h"
#include "services/ingress/http/body.h"
#include "services/ingress/http/json_writer.h"
#include "services/ingress/http/text.h"
#include "services/ingress/verbs.h"

namespace millrace::http {

absl::Status RouteRequestParser::ReadBody(const std::string& body, std::string_view* members) {
  if (body.empty()) return absl::InvalidArgumentError("the body is empty");
  MR_CHECK(body.capacity() >= body.size() + kBodyPadding, "a body has padding");
  JsonReader::Object root;
  absl::Status status = reader_.Open(body.data(), body.size(), body.capacity(), &root);
  if (!status.ok()) return status;
  bool any = false;
  for (auto field : root) {
    std::string_view key;
    JsonReader::Value value;
    status = reader_.ReadMember(field, &key, &value);
    if (status.ok() && (key == "verb" || key == "name")) {
      status = FieldFault({"", FieldPath::kNone, key}, "is said by the path");
    }
    if (status.ok()) status = reader_.Skip(value, 2);  // the root object is 1
    if (!status.ok()) return status;
    any = true;
  }
  status = reader_.Finish();
  if (!status.ok()) return status;
  const size_t begin = body.find('{') + 1;
  *members = any ? std::string_view(body).substr(begin, body.rfind('}') - begin) : "";
  return absl::OkStatus();
}

absl::Status RouteRequestParser::Parse(const Route& route, bool posted, const std::string& body,
                                       std::string* command_json) {
  const bool rollout =
      route.endpoint == Endpoint::kRollouts || route.endpoint == Endpoint::kRollout;
  *command_json = Concat("{\"verb\":\"", rollout ? "rollout" : "route", "\"");
  if (!route.model.empty()) {
    if (absl::Status status = CheckModelName(route.model); !status.ok()) return status;
    Append(command_json, ",\"name\":\"", route.model, "\"");
  }
  if (posted) {
    std::string_view members;
    if (absl::Status status = ReadBody(body, &members); !status.ok()) return status;
    if (!members.empty()) Append(command_json, ",", members);
  } else {
    const bool history = route.endpoint == Endpoint::kRouteHistory;
    Append(command_json, ",\"action\":\"", rollout ? "status" : history ? "history" : "list", "\"");
  }
  command_json->push_back('}');
  return absl::OkStatus();
}

}  // namespace millrace::http
