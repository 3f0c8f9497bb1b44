#include "services/registry/ensemble.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "services/registry/golden.h"

namespace millrace {
namespace {

absl::Status Bad(const std::string& sentence) {
  return absl::InvalidArgumentError("config.pbtxt: parameters members: " + sentence);
}

absl::Status CheckAlike(const EnsembleMember& first, const EnsembleMember& member) {
  const std::string& name = member.model->name();
  if (member.facts->features != first.facts->features) {
    return Bad(absl::StrCat(name, " takes ", member.facts->features, " features, and ",
                            first.model->name(), " takes ", first.facts->features));
  }
  if (member.facts->prediction_columns != first.facts->prediction_columns) {
    return Bad(absl::StrCat(name, " predicts ", member.facts->prediction_columns, " columns, and ",
                            first.model->name(), " predicts ", first.facts->prediction_columns));
  }
  return absl::OkStatus();
}

absl::Status CheckMember(Combine combine, const EnsembleMember& member) {
  const std::string& name = member.model->name();
  const auto type = static_cast<DataType>(member.model->inputs(0).datatype());
  if (type != DataType::kFp32) {
    return Bad(absl::StrCat(name, " takes ", DataTypeName(type).data(),
                            ", and an ensemble hands FP32 to its members"));
  }
  if (combine == VOTE && !member.facts->classifies) {
    return Bad(absl::StrCat(name, " cannot vote: its objective ", member.facts->objective,
                            " does not predict classes"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelFacts> CombineFacts(const EnsembleDefinition& definition,
                                        const std::vector<EnsembleMember>& members) {
  MR_CHECK(members.size() == definition.members.size() && members.size() >= 2,
           "an ensemble has its members");
  ModelFacts facts;
  facts.objective = definition.combine == VOTE ? "vote" : "weighted_mean";
  facts.features = members[0].facts->features;
  facts.prediction_columns = members[0].facts->prediction_columns;
  facts.input_types = {DataType::kFp32};
  // Combined in double; a config may ask for it rounded to float.
  facts.prediction_types = {DataType::kFp64, DataType::kFp32};
  facts.classifies = true;
  facts.max_rows = members[0].model->max_rows();
  std::vector<const std::vector<double>*> golden;
  for (const EnsembleMember& member : members) {
    if (absl::Status s = CheckMember(definition.combine, member); !s.ok()) return s;
    if (absl::Status s = CheckAlike(members[0], member); !s.ok()) return s;
    facts.classifies = facts.classifies && member.facts->classifies;
    facts.max_rows = std::min(facts.max_rows, member.model->max_rows());
    golden.push_back(&member.facts->golden_predictions);
  }
  facts.golden_predictions = CombineGolden(definition.combine, definition.weights, golden);
  return facts;
}

}  // namespace millrace
