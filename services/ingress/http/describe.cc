#include "services/ingress/http/describe.h"

#include "common/check.h"
#include "services/ingress/http/catalog_json.h"
#include "services/ingress/http/http_status.h"
#include "services/ingress/http/json_writer.h"
#include "services/ingress/http/openapi.h"
#include "services/ingress/http/stats_json.h"
#include "services/ingress/http/text.h"
#include "services/ingress/verbs.h"

namespace millrace::http {
namespace {

Description Fault(const absl::Status& status) {
  return {HttpCode(status), JsonError(Message(status))};
}

Description Flag(std::string_view name, bool value) {
  return {value ? 200 : 503, Concat("{\"", name, "\":", value ? "true}" : "false}")};
}

Description DescribeModel(const Route& route, const Frontend& frontend, const Catalog* catalog) {
  const Routed asked = frontend.Described(route.model, route.version);
  const absl::StatusOr<const Model*> model = FindModel(catalog, asked.model, asked.version);
  if (!model.ok()) return Fault(model.status());
  if (route.endpoint == Endpoint::kModel) return {200, ModelJson(*catalog, **model)};
  absl::StatusOr<std::string> config = ConfigJson(**model);
  if (!config.ok()) return Fault(config.status());
  return {200, *std::move(config)};
}

Description DescribeStatistics(const Route& route, const Frontend& frontend,
                               const Catalog* catalog) {
  std::vector<ModelStatistic> statistics;
  const absl::Status status = FindStatistics(frontend, route.model, route.version, &statistics);
  if (!status.ok()) return Fault(status);
  return {200, StatisticsJson(statistics, catalog)};
}

Description DescribeTrace(const Route& route, const Frontend& frontend) {
  const absl::Status status = frontend.ModelReady(route.model, "");
  if (absl::IsNotFound(status)) return Fault(status);
  return {200, TraceJson()};
}

Description DescribeReadiness(const Route& route, const Frontend& frontend, bool draining) {
  const absl::Status status = frontend.ModelReady(route.model, route.version);
  if (absl::IsNotFound(status)) return Fault(status);
  const bool ready = status.ok() && !draining;
  std::string json = "{\"name\":";
  AppendJsonString(route.model, &json);
  Append(&json, ",\"ready\":", ready ? "true}" : "false}");
  return {ready ? 200 : 503, json};
}

}  // namespace

Description Describe(const Route& route, const Frontend& frontend, std::string_view server_version,
                     bool draining, bool only_ready, bool shared_memory) {
  // Held while it is read: the frontend may take up another one at any time.
  const std::shared_ptr<const Catalog> catalog = frontend.catalog();
  switch (route.endpoint) {
    case Endpoint::kAlive:
      return {200, "{\"status\":\"alive\"}"};
    case Endpoint::kOpenApi:
      return {200, std::string(OpenApiText())};
    case Endpoint::kServer:
      return {200, ServerJson(server_version, shared_memory)};
    case Endpoint::kLive:
      return Flag("live", true);
    case Endpoint::kReady:
      return Flag("ready", frontend.ServerReady() && !draining);
    case Endpoint::kModels:
      return {200, ModelsJson(catalog.get())};
    case Endpoint::kModel:
    case Endpoint::kModelConfig:
      return DescribeModel(route, frontend, catalog.get());
    case Endpoint::kIndex:
      return {200, IndexJson(IndexOf(frontend, catalog.get(), draining, only_ready))};
    case Endpoint::kStatistics:
    case Endpoint::kModelStatistics:
      return DescribeStatistics(route, frontend, catalog.get());
    case Endpoint::kTraceSetting:
      return {200, TraceJson()};
    case Endpoint::kModelTraceSetting:
      return DescribeTrace(route, frontend);
    case Endpoint::kLogging:
      return {200, LogJson()};
    case Endpoint::kModelReady:
    case Endpoint::kV1Model:
      return DescribeReadiness(route, frontend, draining);
    case Endpoint::kRegionStatus:
    case Endpoint::kRegionRegister:
    case Endpoint::kRegionUnregister:
    case Endpoint::kCudaStatus:
    case Endpoint::kCudaRegister:
    case Endpoint::kCudaUnregister:
    case Endpoint::kInfer:
    case Endpoint::kPredict:
    case Endpoint::kLoad:
    case Endpoint::kUnload:
    case Endpoint::kRoutes:
    case Endpoint::kRoute:
    case Endpoint::kRouteHistory:
    case Endpoint::kRollouts:
    case Endpoint::kRollout:
    case Endpoint::kUnknown:
      break;
  }
  MR_CHECK(false, "inference, changes, routes, shared memory and unknown paths are handled before");
  return {};
}

}  // namespace millrace::http
