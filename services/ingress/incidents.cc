#include "services/ingress/incidents.h"

namespace millrace {

FromProcess ToMessage(const PoisonRecord& record) {
  FromProcess message;
  Quarantined* out = message.mutable_quarantined();
  out->set_wall_ms(record.wall_ms);
  out->set_model(record.model);
  out->set_version(record.version);
  out->set_route(record.route);
  out->set_client_id_hash(record.client_id_hash);
  out->set_rows(record.rows);
  for (const PoisonRecord::Tensor& tensor : record.tensors) {
    Quarantined::Tensor* t = out->add_tensors();
    t->set_datatype(static_cast<uint32_t>(tensor.datatype));
    t->set_columns(tensor.columns);
    t->set_bytes(tensor.bytes);
  }
  for (const WorkerDeath& death : record.deaths) {
    Quarantined::Death* d = out->add_deaths();
    d->set_stage(static_cast<uint32_t>(death.stage));
    d->set_incarnation(death.incarnation);
    d->set_reason(death.reason);
  }
  return message;
}

FromProcess ToMessage(uint32_t lane, const BreakerChange& change) {
  FromProcess message;
  BreakerChanged* out = message.mutable_breaker_changed();
  out->set_incarnation(lane);
  out->set_model(change.model);
  out->set_version(change.version);
  out->set_state(static_cast<uint32_t>(change.state));
  out->set_deaths(static_cast<uint32_t>(change.deaths));
  return message;
}

}  // namespace millrace
