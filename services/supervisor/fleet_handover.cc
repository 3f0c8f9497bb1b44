// Fleet: beside another pipeline, during an upgrade.
#include "common/log.h"
#include "services/supervisor/fleet.h"

namespace millrace {

ToProcess Fleet::DrainOrder() const {
  ToProcess message;
  // Of a stage that is scaled down the others stay.
  message.mutable_drain()->set_others_serve(others_serve_ || phase_ == FleetPhase::kRunning);
  return message;
}

void Fleet::TellOpen(FleetProcess* ingress) {
  ToProcess message;
  message.mutable_open();
  Send(ingress, message);
}

void Fleet::HandOver() {
  if (phase_ != FleetPhase::kRunning) return;
  Log(LogLevel::kInfo, "handing_over");
  others_serve_ = true;
  Stop();
}

void Fleet::Open() {
  if (!hold_) return;
  hold_ = false;
  RereadRoutes();  // what was changed while the other one served
  for (auto& [key, process] : processes_) {
    if (process.stage == Stage::kIngress && process.state != ProcessState::kDying) {
      TellOpen(&process);
    }
  }
  Settle();
}

}  // namespace millrace
