// Names of attributes: one table, since conventions move.
//
// Purpose: what an attribute is called stands here and nowhere else: OpenTelemetry's semantic
//   conventions where they have a name, else ours. Nothing fails.
#pragma once

#include <string_view>

namespace millrace::attribute_names {

inline constexpr std::string_view kRpcSystem = "rpc.system.name";
inline constexpr std::string_view kRpcMethod = "rpc.method";
inline constexpr std::string_view kRpcCode = "rpc.response.status_code";
inline constexpr std::string_view kHttpMethod = "http.request.method";
inline constexpr std::string_view kHttpRoute = "http.route";
inline constexpr std::string_view kServiceName = "service.name";
inline constexpr std::string_view kServiceVersion = "service.version";

inline constexpr std::string_view kModel = "model";
inline constexpr std::string_view kVersion = "version";
inline constexpr std::string_view kRows = "rows";
inline constexpr std::string_view kAttempts = "attempts";
inline constexpr std::string_view kWhole = "trace.whole";
inline constexpr std::string_view kStage = "stage";
inline constexpr std::string_view kWorker = "worker";
inline constexpr std::string_view kIncarnation = "incarnation";
inline constexpr std::string_view kCode = "code";
inline constexpr std::string_view kDevice = "device";
inline constexpr std::string_view kBatchSize = "batch.size";          // rows
inline constexpr std::string_view kBatchRequests = "batch.requests";  // parts
inline constexpr std::string_view kBatchNumber = "batch.number";

}  // namespace millrace::attribute_names
