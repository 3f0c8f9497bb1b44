#include "tools/millrace/comparison.h"

#include "absl/strings/str_cat.h"
#include "tools/load/element.h"

namespace millrace {
namespace {

size_t CountElements(const std::string& datatype, std::string_view raw) {
  size_t count = 0;
  while (!raw.empty() && TakeElementBytes(datatype, &raw).ok()) ++count;
  return count;
}

struct Element {
  std::string_view bytes;
  std::string text = "nothing";
};

Element Take(const std::string& datatype, std::string_view* raw) {
  Element element;
  std::string_view of_text = *raw;
  const absl::StatusOr<std::string_view> bytes = TakeElementBytes(datatype, raw);
  if (!bytes.ok()) return element;
  element.bytes = *bytes;
  const absl::StatusOr<std::string> text = TakeElement(datatype, &of_text);
  if (text.ok()) element.text = *text;
  return element;
}

}  // namespace

void Comparison::Add(const GoldenSet& set, const GoldenRequest& golden,
                     const inference::ModelInferResponse& response, size_t first_row) {
  const size_t rows = golden.request.inputs(0).shape(0);
  for (size_t o = 0; o < golden.expected.size(); ++o) {
    std::string_view answered;
    for (int i = 0; i < response.outputs_size(); ++i) {
      const auto& output = response.outputs(i);
      if (output.name() != set.output_names[o] || output.datatype() != set.output_types[o])
        continue;
      answered = response.raw_output_contents(i);
    }
    AddOutput(set.output_names[o], set.output_types[o], rows, golden.expected[o], answered,
              first_row);
  }
}

void Comparison::AddOutput(const std::string& name, const std::string& datatype, size_t rows,
                           std::string_view expected, std::string_view answered, size_t first_row) {
  const size_t width = CountElements(datatype, expected) / rows;
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < width; ++c) {
      const Element wanted = Take(datatype, &expected), got = Take(datatype, &answered);
      Value value;
      value.row = first_row + r;
      value.column = width == 1 ? name : absl::StrCat(name, "[", c, "]");
      value.answered = got.text;
      value.expected = wanted.text;
      value.equal = wanted.bytes == got.bytes;
      ++values_;
      equal_ += value.equal;
      if (!value.equal && differences_.size() < shown_differences_) differences_.push_back(value);
      if (value.row < shown_rows_) shown_.push_back(value);
    }
  }
}

}  // namespace millrace
