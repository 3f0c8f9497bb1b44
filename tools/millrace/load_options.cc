#include "tools/millrace/load_options.h"

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace millrace {

absl::StatusOr<std::vector<double>> ParseNumbers(const std::string& flag, const std::string& text,
                                                 double most) {
  std::vector<double> numbers;
  for (const auto part : absl::StrSplit(text, ',')) {
    double number = 0;
    if (!absl::SimpleAtod(part, &number) || !std::isfinite(number) || number <= 0 ||
        number > most) {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, ": '", part, "' is no number above 0 and up to ", most));
    }
    numbers.push_back(number);
  }
  return numbers;
}

absl::StatusOr<std::vector<int>> ParseCounts(const std::string& flag, const std::string& text,
                                             int most) {
  std::vector<int> counts;
  for (const auto part : absl::StrSplit(text, ',')) {
    int count = 0;
    if (!absl::SimpleAtoi(part, &count) || count <= 0 || count > most) {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, ": '", part, "' is no whole number from 1 to ", most));
    }
    counts.push_back(count);
  }
  return counts;
}

absl::StatusOr<std::map<std::string, std::vector<int64_t>>> ParseShapes(
    const std::vector<std::string>& texts) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const std::string& text : texts) {
    const size_t colon = text.rfind(':');
    bool good = colon != std::string::npos && colon > 0;
    std::vector<int64_t> shape;
    if (good) {
      for (const auto part : absl::StrSplit(text.substr(colon + 1), ',')) {
        good = good && absl::SimpleAtoi(part, &shape.emplace_back()) && shape.back() >= 0;
      }
    }
    if (!good || !shapes.emplace(text.substr(0, colon), shape).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("--shape: '", text, "' is not NAME:SIZE,SIZE..., each name once"));
    }
  }
  return shapes;
}

}  // namespace millrace
