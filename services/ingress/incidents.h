// Poison and breakers as the supervisor is told of them.
//
// Purpose: from the lane's own words to messages. Who may call: any thread; pure. Nothing fails.
#pragma once

#include "ipc/control.pb.h"
#include "services/ingress/core/model_breakers.h"
#include "services/ingress/core/poison_record.h"

namespace millrace {

FromProcess ToMessage(const PoisonRecord& record);
FromProcess ToMessage(uint32_t lane, const BreakerChange& change);

}  // namespace millrace
