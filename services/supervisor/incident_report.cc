#include "services/supervisor/incident_report.h"

#include "absl/strings/str_format.h"
#include "common/datatype.h"
#include "ipc/topology.h"

namespace millrace {
namespace {

using nlohmann::json;

json DeathReport(const Quarantined::Death& death) {
  const auto stage = death.stage() < kStageCount ? static_cast<Stage>(death.stage()) : Stage::kNone;
  return {{"stage", StageName(stage)},
          {"incarnation", death.incarnation()},
          {"signal", death.reason() < 256 ? death.reason() : 0},
          {"device_lost", death.reason() == 256}};
}

json TensorReport(const Quarantined& record, const Quarantined::Tensor& tensor) {
  const auto datatype = static_cast<DataType>(tensor.datatype() & 0xff);
  return {{"datatype", DataTypeName(datatype)},
          {"shape", {record.rows(), tensor.columns()}},
          {"bytes", tensor.bytes()}};
}

}  // namespace

json QuarantineReport(const IncidentDesk& desk) {
  json requests = json::array();
  for (auto record = desk.quarantine().rbegin(); record != desk.quarantine().rend(); ++record) {
    json tensors = json::array(), deaths = json::array();
    for (const auto& tensor : record->tensors()) tensors.push_back(TensorReport(*record, tensor));
    for (const auto& death : record->deaths()) deaths.push_back(DeathReport(death));
    requests.push_back(
        {{"time_ms", record->wall_ms()},
         {"model", record->model()},
         {"version", record->version()},
         {"route", record->route()},
         {"client_id_hash",
          record->client_id_hash() == 0 ? "" : absl::StrFormat("%016x", record->client_id_hash())},
         {"rows", record->rows()},
         {"tensors", std::move(tensors)},
         {"deaths", std::move(deaths)}});
  }
  return {{"ok", true}, {"poisoned", desk.poisoned()}, {"requests", std::move(requests)}};
}

json BreakersReport(const IncidentDesk& desk) {
  json breakers = json::array();
  for (const auto& [key, breaker] : desk.breakers()) {
    breakers.push_back({{"model", breaker.change.model()},
                        {"version", breaker.change.version()},
                        {"state", IncidentDesk::StateName(breaker.change.state())},
                        {"deaths", breaker.change.deaths()},
                        {"lane", breaker.change.incarnation()}});
  }
  return breakers;
}

json StageBreakersReport(const StageStorms& storms) {
  json breakers = json::array();
  for (size_t i = 0; i < kStageCount; ++i) {
    const StageBreaker state = storms.states()[i];
    if (state == StageBreaker::kClosed) continue;
    const auto stage = static_cast<Stage>(i);
    breakers.push_back({{"stage", StageName(stage)},
                        {"state", IncidentDesk::StateName(static_cast<uint32_t>(state))},
                        {"deaths", storms.deaths(stage)}});
  }
  return breakers;
}

}  // namespace millrace
