// The parameters of an ensemble: members, method and weights.
//
// Purpose: read and check them (the README has their meaning). Who may call: any thread; nothing is
//   kept. What fails: INVALID_ARGUMENT with the parameter's name and line.
#pragma once

#include <string>
#include <vector>

#include "ipc/catalog.pb.h"
#include "services/registry/config_parameters.h"

namespace millrace {

struct EnsembleDefinition {
  Combine combine = COMBINE_NONE;
  std::vector<std::string> members;  // names of models
  std::vector<double> weights;       // one for each member
};

absl::Status TakeEnsemble(Parameters* parameters, EnsembleDefinition* ensemble);

}  // namespace millrace
