#include "services/ingress/http/openapi_for_test.h"

#include <algorithm>

#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

using Json = nlohmann::json;

std::string Capitals(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), toupper);
  return text;
}

std::string Small(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), tolower);
  return text;
}

void Replace(std::string* text, std::string_view word, std::string_view with) {
  const size_t at = text->find(word);
  if (at != std::string::npos) text->replace(at, word.size(), with);
}

}  // namespace

std::string Fill(std::string path, std::string_view model, std::string_view version) {
  Replace(&path, "{model}", model);
  Replace(&path, "{version}", version);
  Replace(&path, "{region}", "r");
  return path;
}

std::string FieldOf(const Response& response, std::string_view name) {
  const std::string key = Concat("\r\n", Small(std::string(name)), ": ");
  const size_t at = response.head.find(key);
  if (at == std::string::npos) return "";
  const size_t begin = at + key.size();
  return response.head.substr(begin, response.head.find("\r\n", begin) - begin);
}

std::vector<Operation> OpenApi::Operations() const {
  std::vector<Operation> operations;
  for (const auto& [path, item] : document_["paths"].items()) {
    for (const auto& [key, value] : item.items()) {
      if (key != "parameters") operations.push_back({path, Capitals(key)});
    }
  }
  return operations;
}

const Json& OpenApi::Of(const Operation& operation) const {
  return document_["paths"][operation.path][Small(operation.method)];
}

std::string OpenApi::Methods(const std::string& path) const {
  std::string text;
  for (const Operation& operation : Operations()) {
    if (operation.path == path) Append(&text, text.empty() ? "" : ", ", operation.method);
  }
  return text;
}

std::vector<std::string> OpenApi::Differences(absl::Span<const RoutePattern> routes) const {
  std::vector<std::string> found;
  std::set<std::string> served;
  for (const RoutePattern& route : routes) {
    const std::string path(route.path);
    served.insert(path);
    if (!document_["paths"].contains(path)) {
      found.push_back("the document lacks " + path);
      continue;
    }
    const std::string methods = TakesPost(route.endpoint)      ? "POST"
                                : TakesPostToo(route.endpoint) ? "GET, HEAD, POST"
                                                               : "GET, HEAD";
    if (Methods(path) != methods) found.push_back(path + " takes " + methods);
  }
  for (const auto& [path, item] : document_["paths"].items()) {
    if (!served.contains(path)) found.push_back("the router lacks " + path);
  }
  return found;
}

std::string OpenApi::ReferenceFault(const Json& node) const {
  if (schema_.Resolve(node) == nullptr) return node.dump() + " leads nowhere";
  if (!node.is_structured()) return "";
  for (const auto& [key, inner] : node.items()) {
    if (std::string fault = ReferenceFault(inner); !fault.empty()) return fault;
  }
  return "";
}

std::string OpenApi::OperationFault(const Operation& operation) const {
  const std::string name = operation.method + " " + operation.path;
  const Json& item = document_["paths"][operation.path];
  std::set<std::string> declared;
  for (const Json* list : {&item, &Of(operation)}) {
    if (!list->contains("parameters")) continue;
    for (const Json& node : (*list)["parameters"]) {
      const Json& parameter = *schema_.Resolve(node);
      if (parameter["in"] == "path") declared.insert(parameter["name"]);
    }
  }
  for (const char* word : {"model", "version", "region"}) {
    const bool stands = operation.path.find(Concat("{", word, "}")) != std::string::npos;
    if (stands != declared.contains(word)) return name + ": the parameter " + word;
  }
  if (!Of(operation).contains("requestBody")) return "";
  const Json& content = Of(operation)["requestBody"]["content"]["application/json"];
  if (content["examples"].empty()) return name + ": has no example";
  for (const auto& [title, example] : content["examples"].items()) {
    const std::string fault = schema_.Check(content["schema"], example["value"]);
    if (!fault.empty()) return name + ": the example " + title + ": " + fault;
  }
  return "";
}

std::vector<std::string> OpenApi::Faults() const {
  if (std::string fault = ReferenceFault(document_); !fault.empty()) return {fault};
  std::vector<std::string> found;
  for (const auto& [name, schema] : document_["components"]["schemas"].items()) {
    const std::string fault = schema_.CheckSchema(schema);
    if (!fault.empty()) found.push_back(name + ": " + fault);
  }
  std::set<std::string> names;
  for (const Operation& operation : Operations()) {
    if (!names.insert(Of(operation)["operationId"]).second) {
      found.push_back(operation.path + ": its operationId is another's");
    }
    const std::string fault = OperationFault(operation);
    if (!fault.empty()) found.push_back(fault);
  }
  return found;
}

std::string OpenApi::CheckFields(const Json& promise, const Response& response) const {
  if (!promise.contains("headers")) return "";
  for (const auto& [name, node] : promise["headers"].items()) {
    const Json& field = *schema_.Resolve(node);
    const std::string text = FieldOf(response, name);
    if (text.empty()) {
      if (field.value("required", false)) return "the field " + name + " is missing";
      continue;
    }
    const Json& schema = field["schema"];
    const bool number = schema.value("type", "") == "integer";
    const Json value = number ? Json::parse(text, nullptr, false) : Json(text);
    const std::string fault = schema_.Check(schema, value);
    if (!fault.empty()) return name + ": " + fault;
  }
  return "";
}

std::string OpenApi::CheckAnswer(const Json& promise, const Response& response) const {
  if (std::string fault = CheckFields(promise, response); !fault.empty()) return fault;
  if (!promise.contains("content")) {
    return response.body.empty() ? "" : "there is a body, and none is promised";
  }
  const Json& content = promise["content"];
  const std::string type = FieldOf(response, "content-type");
  if (!content.contains(type)) return "the content type " + type + " is not promised";
  std::string text = response.body;
  if (type == "application/octet-stream") {
    const std::string bytes = FieldOf(response, "inference-header-content-length");
    if (bytes.empty()) return "nobody can tell where the JSON ends";
    text.resize(std::min<size_t>(text.size(), strtoul(bytes.c_str(), nullptr, 10)));
  }
  const Json body = Json::parse(text, nullptr, false);
  if (body.is_discarded()) return "the body is not JSON";
  return schema_.Check(content["application/json"]["schema"], body);
}

std::string OpenApi::Check(const Operation& operation, const Response& response) {
  const std::string code = std::to_string(response.code);
  const std::string name = Concat(operation.method, " ", operation.path, " ", code);
  seen_.insert(name);
  const Json& promises = Of(operation)["responses"];
  if (!promises.contains(code)) return name + ": the code is not in the document";
  const std::string fault = CheckAnswer(*schema_.Resolve(promises[code]), response);
  return fault.empty() ? "" : name + ": " + fault;
}

std::string OpenApi::CheckComponent(const std::string& name, const Response& response) const {
  return CheckAnswer(document_["components"]["responses"][name], response);
}

std::vector<std::string> OpenApi::Unseen() const {
  std::vector<std::string> unseen;
  for (const Operation& operation : Operations()) {
    for (const auto& [code, promise] : Of(operation)["responses"].items()) {
      const std::string name = Concat(operation.method, " ", operation.path, " ", code);
      if (!seen_.contains(name)) unseen.push_back(name);
    }
  }
  return unseen;
}

}  // namespace millrace::http
