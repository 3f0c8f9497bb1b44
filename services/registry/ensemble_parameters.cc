#include "services/registry/ensemble_parameters.h"

#include <math.h>

#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "ipc/ledger.h"

namespace millrace {
namespace {

std::vector<std::string> List(const std::string& text) {
  std::vector<std::string> parts;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    parts.emplace_back(absl::StripAsciiWhitespace(part));
  }
  return parts;
}

absl::Status TakeMembers(Parameters* parameters, EnsembleDefinition* ensemble) {
  const std::optional<std::string> members = parameters->Take("members");
  if (!members.has_value())
    return parameters->Bad("members", " is missing: names of two models or more");
  ensemble->members = List(*members);
  if (ensemble->members.size() < 2 || ensemble->members.size() > kMaxMembers) {
    return parameters->Bad("members", absl::StrCat(" names ", ensemble->members.size(),
                                                   " models, and may name 2 to ", kMaxMembers));
  }
  std::set<std::string> seen;
  for (const std::string& member : ensemble->members) {
    if (!IsPlainName(member)) {
      return parameters->Bad("members",
                             absl::StrCat(": '", Printable(member), "' is no model's name"));
    }
    if (!seen.insert(member).second) {
      return parameters->Bad("members", absl::StrCat(": ", member, " stands twice"));
    }
  }
  return absl::OkStatus();
}

absl::Status TakeWeights(Parameters* parameters, EnsembleDefinition* ensemble) {
  ensemble->weights.assign(ensemble->members.size(), 1.0);
  const std::optional<std::string> text = parameters->Take("weights");
  if (!text.has_value()) return absl::OkStatus();
  const std::vector<std::string> parts = List(*text);
  if (parts.size() != ensemble->members.size()) {
    return parameters->Bad("weights", absl::StrCat(" has ", parts.size(), " numbers for ",
                                                   ensemble->members.size(), " members"));
  }
  double sum = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    double& weight = ensemble->weights[i];
    if (!absl::SimpleAtod(parts[i], &weight) || !isfinite(weight) || weight < 0) {
      return parameters->Bad(
          "weights", absl::StrCat(": '", Printable(parts[i]), "' is no number of 0 or more"));
    }
    sum += weight;
  }
  if (!(sum > 0) || !isfinite(sum)) {
    return parameters->Bad("weights", ": their sum must be above 0 and finite");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status TakeEnsemble(Parameters* parameters, EnsembleDefinition* ensemble) {
  if (absl::Status s = TakeMembers(parameters, ensemble); !s.ok()) return s;
  const std::optional<std::string> method = parameters->Take("method");
  if (!method.has_value()) return parameters->Bad("method", " is missing: weighted_mean or vote");
  if (*method == "weighted_mean") {
    ensemble->combine = WEIGHTED_MEAN;
  } else if (*method == "vote") {
    ensemble->combine = VOTE;
  } else {
    return parameters->Bad(
        "method", absl::StrCat(" is ", Printable(*method), ", and may be weighted_mean or vote"));
  }
  return TakeWeights(parameters, ensemble);
}

}  // namespace millrace
