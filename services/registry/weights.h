// What the catalog says of a version's weights: their age, and whether they are pinned.
// Who may call: any thread. Nothing fails.
#pragma once

#include "services/registry/catalog_builder.h"

namespace millrace {

ModelWeights WeightsOf(const BuiltModel& model);

}  // namespace millrace
