#include "kernels/compile/xgboost_objective.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

struct Row {
  const char* name;
  XgboostObjective objective;
};

constexpr XgboostObjective kPlain = {MarginTransform::kIdentity, Link::kIdentity};
constexpr XgboostObjective kLogistic = {MarginTransform::kSigmoid, Link::kLogit};
constexpr XgboostObjective kLogLinear = {MarginTransform::kExp, Link::kLog};

constexpr Row kObjectives[] = {
    {"reg:squarederror", kPlain},
    {"reg:linear", kPlain},
    {"reg:squaredlogerror", kPlain},
    {"reg:pseudohubererror", kPlain},
    {"reg:absoluteerror", kPlain},
    {"reg:quantileerror", kPlain},
    {"reg:expectileerror", kPlain},
    {"rank:pairwise", kPlain},
    {"rank:ndcg", kPlain},
    {"rank:map", kPlain},
    {"binary:logitraw", kPlain},
    {"binary:logistic", kLogistic},
    {"reg:logistic", kLogistic},
    {"binary:hinge", {MarginTransform::kStep, Link::kIdentity}},
    {"count:poisson", kLogLinear},
    {"reg:gamma", kLogLinear},
    {"reg:tweedie", kLogLinear},
    {"survival:cox", kLogLinear},
    {"survival:aft", kLogLinear},
    {"multi:softprob", {MarginTransform::kSoftmax, Link::kIdentity}},
    {"multi:softmax", {MarginTransform::kArgmax, Link::kIdentity}},
};

}  // namespace

absl::StatusOr<XgboostObjective> FindXgboostObjective(const std::string& name) {
  for (const Row& row : kObjectives) {
    if (name == row.name) return row.objective;
  }
  return absl::UnimplementedError(
      absl::StrCat("learner.objective.name: \"", name, "\" is not supported"));
}

absl::StatusOr<float> BaseMargin(Link link, float base_score, bool bounded) {
  if (link == Link::kIdentity) return base_score;
  if (link == Link::kLog) {
    if (base_score > 0) return std::log(base_score);
    return absl::InvalidArgumentError("must be above 0 for this objective");
  }
  if (bounded && base_score >= 0 && base_score <= 1) {
    constexpr float kMargin = 1e-6f;
    base_score = std::min(std::max(base_score, kMargin), 1.0f - kMargin);
  }
  if (base_score > 0 && base_score < 1) return -std::log(1.0f / base_score - 1.0f);
  return absl::InvalidArgumentError("must be a probability for this objective");
}

}  // namespace millrace
