// Small valid plans that between them use every part of the format. For tests.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace millrace {

struct SamplePlan {
  std::string name;
  std::vector<std::byte> image;
};

std::vector<SamplePlan> SamplePlans();

// The XGBoost sample: 3 features named "age", "visits", "plan"; 2 groups, softmax; tree 0 (group 0)
// splits feature 0 at 40 and feature 2 by the categories {1, 33}; tree 1 (group 1) is one leaf.
std::vector<std::byte> SampleXgboostPlan();

}  // namespace millrace
