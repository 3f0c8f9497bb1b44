#include "services/e2e/slow_trace.h"

#include <utility>

namespace millrace {

using nlohmann::json;

json SlowTrace() {
  const auto span = [](const char* id, const char* parent, const char* name, int64_t start_ns,
                       int64_t duration_ns, const char* stage, json attributes) {
    return json{{"span_id", id},
                {"parent_span_id", parent},
                {"name", name},
                {"start_ns", start_ns},
                {"duration_ns", duration_ns},
                {"stage", stage},
                {"worker", 0},
                {"incarnation", 7},
                {"attributes", std::move(attributes)}};
  };
  const char* const root = "00000000000000a1";
  return {
      {"trace_id", "0af7651916cd43dd8448eb211c80319c"},
      {"parent_span_id", ""},
      {"model", "randhie"},
      {"version", "1"},
      {"code", "OK"},
      {"why", json::array({"slow"})},
      {"start_unix_ns", "1790000000123456789"},
      {"duration_ns", 240'000'000},
      {"spans",
       json::array({span(root, "", "grpc ModelInfer", 0, 240'000'000, "ingress", json::object()),
                    span("00000000000000a2", root, "features", 1'000'000, 9'000'000, "features",
                         json::object()),
                    span("00000000000000a3", root, "queue", 10'000'000, 20'000'000, "execution",
                         json::object()),
                    span("00000000000000a4", root, "batch", 30'000'000, 200'000'000, "execution",
                         {{"batch.size", 32}, {"device", "cpu"}}),
                    span("00000000000000a5", "00000000000000a4", "execute", 32'000'000, 190'000'000,
                         "execution", json::object()),
                    span("00000000000000a6", root, "respond", 236'000'000, 4'000'000, "ingress",
                         json::object())})}};
}

}  // namespace millrace
