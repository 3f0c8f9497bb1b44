#include "services/registry/routes/routes_fields.h"

namespace millrace {
namespace {

using F = ManifestField;

constexpr bool kRequired = true, kOptional = false;
constexpr int64_t kMostVersions = 999'999'999;

constexpr char kFree[] = R"(^[^\x00-\x1f\x7f]+$)";
constexpr char kPlain[] = "^[A-Za-z0-9_-][A-Za-z0-9_.-]*$";
constexpr char kHeaderName[] = "^[a-z0-9][a-z0-9_.-]*$";
constexpr char kPrefix[] = "^(/[A-Za-z0-9_.~-]+)+$";
constexpr char kTensor[] =
    R"(^[^\x00-\x20\x22\x27\x5c\x7f]([^\x00-\x1f\x22\x27\x5c\x7f]*[^\x00-\x20\x22\x27\x5c\x7f])?$)";
constexpr char kType[] =
    "^(BOOL|UINT8|UINT16|UINT32|UINT64|INT8|INT16|INT32|INT64|FP32|FP64|BYTES)$";

constexpr F Text(std::string_view name, bool required, int64_t max, std::string_view pattern,
                 std::string_view sentence) {
  return {name, FieldKind::kText, required, 1, max, pattern, sentence, {}};
}
constexpr F Version(std::string_view name, bool required, std::string_view sentence) {
  return {name, FieldKind::kInteger, required, 1, kMostVersions, {}, sentence, {}};
}
constexpr F Number(std::string_view name, std::string_view sentence) {
  return {name, FieldKind::kNumber, kOptional, 0, 0, {}, sentence, {}};
}
constexpr F List(std::string_view name, bool required, int64_t min, int64_t max,
                 absl::Span<const F> element, std::string_view sentence) {
  return {name, FieldKind::kList, required, min, max, {}, sentence, element};
}
constexpr F Map(std::string_view name, absl::Span<const F> fields, std::string_view sentence) {
  return {name, FieldKind::kMap, kRequired, 0, 0, {}, sentence, fields};
}

constexpr F kModel =
    Text("model", kOptional, 128, kPlain, "Left out: the model that the route is named after.");

constexpr F kHeaderFields[] = {
    Text("name", kRequired, 64, kHeaderName,
         "Of an HTTP header or of gRPC metadata, in lower case; not one that holds a secret."),
    Text("value", kRequired, 256, kFree, "The whole value.")};
constexpr F kHeader[] = {Map("", kHeaderFields, "A header that the request must have.")};
constexpr F kTenant[] = {Text("", kRequired, 128, kFree, "The name of an API key's entry.")};

constexpr F kTargetFields[] = {
    kModel, Version("version", kRequired, "One that is loaded."),
    Number("weight",
           "Per cent of the clients, to two decimals; all of a rule are 100 together. May be left "
           "out where there is one target. The first is who gives when another grows.")};
constexpr F kTarget[] = {Map("", kTargetFields, "A version that answers.")};

constexpr F kShadowFields[] = {
    kModel, Version("version", kRequired, "One that is loaded."),
    Number("share", "Per cent of the requests that it gets a copy of; left out: all."),
    Version("beside", kOptional, "Only of requests that this version answered.")};
constexpr F kShadow[] = {
    Map("", kShadowFields, "A version that is asked as well, and whose answers are compared.")};

constexpr F kDimension[] = {
    {"", FieldKind::kInteger, kRequired, 1, INT32_MAX, {}, "A dimension.", {}}};
constexpr F kElement[] = {{"", FieldKind::kElement, kRequired, 0, 0, {}, "An element.", {}}};
constexpr F kTensorFields[] = {Text("name", kRequired, 128, kTensor, "The output's."),
                               Text("datatype", kRequired, 8, kType, "As the protocol names it."),
                               List("shape", kRequired, 2, 2, kDimension, "[1, columns]."),
                               List("data", kRequired, 1, 1 << 12, kElement, "Its elements.")};
constexpr F kOutput[] = {Map("", kTensorFields, "An output of one row.")};

constexpr F kFallbackFields[] = {
    kModel, Version("version", kOptional, "One that is loaded."),
    List("constant", kOptional, 1, 16, kOutput,
         "In place of a version: the outputs of one row, which each row of the request gets.")};
constexpr F kFallback[] = {
    Map("", kFallbackFields, "What answers where what is before it cannot.")};

constexpr F kRuleFields[] = {
    Text("label", kOptional, 64, kFree, "For people."),
    List("headers", kOptional, 1, 8, kHeader, "All of them must be there."),
    Text("path", kOptional, 128, kPrefix,
         "The prefix of the request's path before /v1 or /v2 (HTTP alone has one)."),
    List("tenants", kOptional, 1, 64, kTenant, "The API key is one of these."),
    List("to", kOptional, 1, 16, kTarget,
         "Left out: the latest version of the model that the route is named after."),
    List("shadows", kOptional, 1, 4, kShadow, "Who else is asked."),
    List("fallbacks", kOptional, 1, 8, kFallback, "In this order.")};
constexpr F kRule[] = {
    Map("", kRuleFields, "Requests that fit all that is said, and where they go.")};

constexpr F kRouteFields[] = {
    Text("name", kRequired, 128, kPlain,
         "What clients ask for: a model, or an alias, which is no model's name."),
    List("rules", kRequired, 1, 64, kRule, "The first that fits decides.")};
constexpr F kRoute[] = {Map("", kRouteFields, "Of one name.")};

constexpr F kTop[] = {
    {"routes_format", FieldKind::kInteger, kRequired, 1, 1, {}, "The number of this form.", {}},
    List("routes", kRequired, 0, 1024, kRoute, "All routes; a model without one has its latest.")};

constexpr F kRoot = Map("", kTop, "Which version of which model answers which request.");

}  // namespace

const ManifestField& RoutesTable() { return kRoot; }
const ManifestField& RuleTable() { return kRule[0]; }

std::string RoutesJsonSchema() { return FieldsJsonSchema(kRoot, "Millrace routes"); }

}  // namespace millrace
