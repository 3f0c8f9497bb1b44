// XGBoost's document: learner -> gradient_booster -> model -> trees. Where things stand differs by
// version: DART's weights moved (3.4), base_score became a vector (3.1).
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "kernels/compile/parsers.h"
#include "kernels/compile/xgboost_objective.h"
#include "kernels/compile/xgboost_tree.h"
#include "kernels/plan/writer.h"

namespace millrace {
namespace {

struct Version {
  int64_t major = 0;
  int64_t minor = 0;
  int64_t patch = 0;
};

absl::StatusOr<Version> ReadVersion(const Place& document) {
  const absl::StatusOr<std::vector<int64_t>> parts = ReadIntegers(document, "version");
  if (!parts.ok()) return parts.status();
  if (parts->size() != 3) return Fault("version: must have 3 numbers, has ", parts->size());
  const Version version = {(*parts)[0], (*parts)[1], (*parts)[2]};
  if (version.major < 1 || version.major > 3) {
    return absl::UnimplementedError(
        absl::StrCat("version: XGBoost ", version.major, " is not supported, 1 to 3 are"));
  }
  return version;
}

// "5E-1", or from 3.1 on "[5E-1,2E-1]".
absl::StatusOr<std::vector<float>> ReadBaseScores(const Place& parameters) {
  const absl::StatusOr<std::string> text = ReadText(parameters, "base_score");
  if (!text.ok()) return text.status();
  absl::string_view list = absl::StripAsciiWhitespace(*text);
  if (list.size() >= 2 && list.front() == '[' && list.back() == ']') {
    list = list.substr(1, list.size() - 2);
  }
  std::vector<float> scores;
  for (absl::string_view part : absl::StrSplit(list, ',')) {
    part = absl::StripAsciiWhitespace(part);
    float score = 0;
    if (!ParseFloat({part.data(), part.size()}, &score) || !std::isfinite(score)) {
      return Fault(parameters.path, ".base_score: \"", absl::CHexEscape(*text),
                   "\" is not a finite number nor a list of them");
    }
    scores.push_back(score);
  }
  return scores;
}

// Counts and starting margins. The number of groups is the length of traits->bases.
absl::Status ReadParameters(const Place& learner, const XgboostObjective& objective,
                            const Version& version, PlanTraits* traits) {
  const absl::StatusOr<Place> parameters = Member(learner, "learner_model_param");
  if (!parameters.ok()) return parameters.status();
  MR_RETURN_IF_ERROR(OnlyMembers(
      *parameters, {"base_score", "boost_from_average", "num_class", "num_feature", "num_target"}));
  const auto features = ReadInteger(*parameters, "num_feature", 0, kMaxFeatures);
  if (!features.ok()) return features.status();
  const auto classes = ReadInteger(*parameters, "num_class", 0, kMaxGroups);
  if (!classes.ok()) return classes.status();
  int64_t targets = 1;
  if (FindMember(*parameters, "num_target") != nullptr) {
    const auto read = ReadInteger(*parameters, "num_target", 1, kMaxGroups);
    if (!read.ok()) return read.status();
    targets = *read;
  }
  if (*classes > 1 && targets > 1) {
    return absl::UnimplementedError(absl::StrCat(
        parameters->path, ".num_target: many targets of many classes are not supported"));
  }
  const int64_t groups = std::max({*classes, targets, int64_t{1}});
  absl::StatusOr<std::vector<float>> scores = ReadBaseScores(*parameters);
  if (!scores.ok()) return scores.status();
  if (scores->size() == 1) scores->resize(groups, scores->front());
  if (static_cast<int64_t>(scores->size()) != groups) {
    return Fault(parameters->path, ".base_score: has ", scores->size(), " entries, must have ",
                 groups);
  }
  const bool bounded = version.major == 3 && version.minor >= 1;
  for (const float score : *scores) {
    const absl::StatusOr<float> margin = BaseMargin(objective.link, score, bounded);
    if (!margin.ok()) return Fault(parameters->path, ".base_score: ", margin.status().message());
    traits->bases.push_back(*margin);
  }
  traits->features = static_cast<uint32_t>(*features);
  return absl::OkStatus();
}

absl::Status ReadFeatureNames(const Place& learner, PlanTraits* traits) {
  if (FindMember(learner, "feature_names") == nullptr) return absl::OkStatus();
  const absl::StatusOr<Place> names = ReadArray(learner, "feature_names");
  if (!names.ok()) return names.status();
  if (names->value->empty()) return absl::OkStatus();
  if (names->value->size() != traits->features) {
    return Fault(names->path, ": has ", names->value->size(), " entries, num_feature is ",
                 traits->features);
  }
  for (size_t i = 0; i < names->value->size(); ++i) {
    const Json& name = (*names->value)[i];
    if (!name.is_string()) return Fault(names->path, "[", i, "]: must be a string");
    traits->feature_names.push_back(name.get<std::string>());
  }
  return absl::OkStatus();
}

struct Booster {
  Place model;
  std::vector<float> weights;  // DART's, one a tree; empty where there are none
};

absl::StatusOr<Booster> ReadBooster(const Place& learner) {
  const absl::StatusOr<Place> booster = Member(learner, "gradient_booster");
  if (!booster.ok()) return booster.status();
  const absl::StatusOr<std::string> name = ReadText(*booster, "name");
  if (!name.ok()) return name.status();
  if (*name != "gbtree" && *name != "dart") {
    return absl::UnimplementedError(absl::StrCat(booster->path, ".name: booster \"",
                                                 absl::CHexEscape(*name), "\" is not supported"));
  }
  MR_RETURN_IF_ERROR(OnlyMembers(*booster, {"gbtree", "model", "name", "weight_drop"}));
  Place home = *booster;
  if (*name == "dart") {
    const absl::StatusOr<Place> inner = Member(*booster, "gbtree");
    if (!inner.ok()) return inner.status();
    MR_RETURN_IF_ERROR(OnlyMembers(*inner, {"model", "name"}));
    home = *inner;
  } else if (FindMember(*booster, "weight_drop") != nullptr) {
    return Fault(booster->path, ".weight_drop: is not supported for booster \"gbtree\"");
  }
  const absl::StatusOr<Place> model = Member(home, "model");
  if (!model.ok()) return model.status();
  MR_RETURN_IF_ERROR(OnlyMembers(*model, {"cats", "gbtree_model_param", "iteration_indptr",
                                          "tree_info", "trees", "weight_drop"}));
  Booster result = {*model, {}};
  const bool inside = FindMember(*model, "weight_drop") != nullptr;
  if (*name == "dart" || inside) {
    absl::StatusOr<std::vector<float>> weights =
        ReadFloats(inside ? *model : *booster, "weight_drop");
    if (!weights.ok()) return weights.status();
    result.weights = *std::move(weights);
  }
  return result;
}

absl::Status AddTree(const Place& tree, size_t index, XgboostTreeContext* context,
                     PlanWriter* writer) {
  if (FindMember(tree, "id") != nullptr) {
    const absl::StatusOr<int64_t> id = ReadInteger(tree, "id", 0, INT32_MAX);
    if (!id.ok()) return id.status();
    if (*id != static_cast<int64_t>(index)) {
      return Fault(tree.path, ".id: is ", *id, ", trees must stand in order");
    }
  }
  const absl::StatusOr<uint32_t> width = XgboostLeafWidth(tree);
  if (!width.ok()) return width.status();
  if (*width != (context->vector_leaves ? context->groups : 1)) {
    return Fault(tree.path, ".tree_param.size_leaf_vector: is ", *width,
                 ", must be 1 in every tree or the number of targets in every tree");
  }
  return AddXgboostTree(tree, *context, writer);
}

absl::Status AddTrees(const Booster& booster, PlanTraits* traits, PlanWriter* writer) {
  const absl::StatusOr<Place> trees = ReadArray(booster.model, "trees");
  if (!trees.ok()) return trees.status();
  const size_t count = trees->value->size();
  const auto groups = ReadIntegers(booster.model, "tree_info");
  if (!groups.ok()) return groups.status();
  if (groups->size() != count) {
    return Fault(booster.model.path, ".tree_info: has ", groups->size(), " entries, must have ",
                 count);
  }
  const bool weighted = !booster.weights.empty();
  if (weighted && booster.weights.size() != count) {
    return Fault(booster.model.path, ".weight_drop: has ", booster.weights.size(),
                 " entries, must have ", count);
  }
  XgboostTreeContext context = {.features = traits->features,
                                .groups = static_cast<uint32_t>(traits->bases.size()),
                                .vector_leaves = false,
                                .weighted = weighted,
                                .weight = 1,
                                .group = 0};
  for (size_t i = 0; i < count; ++i) {
    const Place tree = {&(*trees->value)[i], absl::StrCat(trees->path, "[", i, "]")};
    if (i == 0) {
      const absl::StatusOr<uint32_t> width = XgboostLeafWidth(tree);
      if (!width.ok()) return width.status();
      context.vector_leaves = *width > 1;
    }
    const int64_t group = (*groups)[i];
    if (group < 0 || group >= (context.vector_leaves ? 1 : context.groups)) {
      return Fault(booster.model.path, ".tree_info[", i, "]: group ", group, " of ",
                   context.groups);
    }
    if (weighted && !std::isfinite(booster.weights[i])) {
      return Fault(booster.model.path, ".weight_drop[", i, "]: is not finite");
    }
    context.weight = weighted ? booster.weights[i] : 1;
    context.group = static_cast<uint32_t>(group);
    MR_RETURN_IF_ERROR(AddTree(tree, i, &context, writer));
  }
  traits->vector_leaves = context.vector_leaves;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CompiledModel> CompileXgboost(const Json& document, ModelFormat format) {
  const Place root = {&document, ""};
  const absl::StatusOr<Place> learner = Member(root, "learner");
  if (!learner.ok()) return learner.status();
  const absl::StatusOr<Version> version = ReadVersion(root);
  if (!version.ok()) return version.status();
  const absl::StatusOr<Place> objective_place = Member(*learner, "objective");
  if (!objective_place.ok()) return objective_place.status();
  const absl::StatusOr<std::string> objective_name = ReadText(*objective_place, "name");
  if (!objective_name.ok()) return objective_name.status();
  const absl::StatusOr<XgboostObjective> objective = FindXgboostObjective(*objective_name);
  if (!objective.ok()) return objective.status();
  const absl::StatusOr<Booster> booster = ReadBooster(*learner);
  if (!booster.ok()) return booster.status();

  PlanTraits traits;
  traits.family = TreeFamily::kXgboost;
  traits.transform = objective->transform;
  traits.objective = *objective_name;
  PlanWriter writer;
  MR_RETURN_IF_ERROR(ReadParameters(*learner, *objective, *version, &traits));
  MR_RETURN_IF_ERROR(ReadFeatureNames(*learner, &traits));
  MR_RETURN_IF_ERROR(AddTrees(*booster, &traits, &writer));
  absl::StatusOr<std::vector<std::byte>> plan = writer.Finish(traits);
  if (!plan.ok()) return plan.status();
  return CompiledModel{
      *std::move(plan), format,
      absl::StrCat("xgboost ", version->major, ".", version->minor, ".", version->patch)};
}

}  // namespace millrace
