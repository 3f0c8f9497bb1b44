// openapi.json as a thing that a server's answers can be held against.
//
// Purpose: compare the document with the router, and answers with the document; note which of the
//   promised answers were seen. Who may call: tests.
// What fails: sentences about what disagrees; an empty one, or none: nothing does.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "services/ingress/http/http_client_for_test.h"
#include "services/ingress/http/json_schema_for_test.h"
#include "services/ingress/http/route.h"

namespace millrace::http {

// One method of one path; `path` as in the document.
struct Operation {
  std::string path;
  std::string method;  // in capitals
};

class OpenApi {
 public:
  explicit OpenApi(nlohmann::json document) : document_(std::move(document)), schema_(&document_) {}
  OpenApi(const OpenApi&) = delete;
  OpenApi& operator=(const OpenApi&) = delete;

  const nlohmann::json& document() const { return document_; }
  std::vector<Operation> Operations() const;
  const nlohmann::json& Of(const Operation& operation) const;
  // "GET, HEAD": what Allow must say of a path.
  std::string Methods(const std::string& path) const;

  // What the one has and the other has not.
  std::vector<std::string> Differences(absl::Span<const RoutePattern> routes) const;
  // What is wrong with the document by itself: references, keywords, names, examples.
  std::vector<std::string> Faults() const;
  // Holds an answer to what the document says of it, and notes it as seen.
  std::string Check(const Operation& operation, const Response& response);
  // The same for a response that no operation lists (a 405).
  std::string CheckComponent(const std::string& name, const Response& response) const;
  // Promised and never passed to Check, as "METHOD PATH CODE".
  std::vector<std::string> Unseen() const;

 private:
  std::string CheckAnswer(const nlohmann::json& promise, const Response& response) const;
  std::string CheckFields(const nlohmann::json& promise, const Response& response) const;
  std::string OperationFault(const Operation& operation) const;
  std::string ReferenceFault(const nlohmann::json& node) const;

  nlohmann::json document_;
  JsonSchema schema_;
  std::set<std::string> seen_;
};

// "/v2/models/{model}" with names in the place of words.
std::string Fill(std::string path, std::string_view model, std::string_view version);

// The value of a field of a lower-cased head; empty where it is not there.
std::string FieldOf(const Response& response, std::string_view name);

}  // namespace millrace::http
