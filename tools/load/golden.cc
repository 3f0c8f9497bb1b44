#include "tools/load/golden.h"

#include <string.h>

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tools/load/element.h"

namespace millrace {
namespace {

using inference::ModelMetadataResponse;

constexpr char kRawColumn[] = "raw_column.";

// The raw columns of the model's view, by name: "string" or "number".
std::map<std::string, std::string> RawColumns(const ModelMetadataResponse& metadata) {
  std::map<std::string, std::string> columns;
  for (const auto& [key, value] : metadata.properties()) {
    if (absl::StartsWith(key, kRawColumn)) columns[key.substr(strlen(kRawColumn))] = value;
  }
  return columns;
}

std::string CellName(const Csv& csv, size_t row, size_t column) {
  return absl::StrCat("row ", row + 1, ", column '", csv.header[column], "'");
}

// Says what the model takes: a tensor of so many columns, or its raw columns by name.
absl::Status WrongColumns(const ModelMetadataResponse& metadata, const Csv& rows) {
  std::string takes =
      absl::StrCat("a tensor of shape [", absl::StrJoin(metadata.inputs(0).shape(), ", "), "]");
  std::vector<std::string> names;
  for (const auto& [name, type] : RawColumns(metadata)) names.push_back(name);
  if (!names.empty()) absl::StrAppend(&takes, ", or the columns ", absl::StrJoin(names, ", "));
  return absl::InvalidArgumentError(absl::StrCat("rows: ", rows.header.size(), " columns (",
                                                 absl::StrJoin(rows.header, ", "),
                                                 "), but the model takes ", takes));
}

absl::Status AddTensor(const ModelMetadataResponse& metadata, const Csv& rows, size_t begin,
                       size_t end, inference::ModelInferRequest* request) {
  if (metadata.inputs_size() != 1) {
    return absl::InvalidArgumentError("the model does not take one tensor");
  }
  const auto& spec = metadata.inputs(0);
  const bool fits =
      spec.shape_size() == 2 && spec.shape(1) == static_cast<int64_t>(rows.header.size());
  if (!fits) return WrongColumns(metadata, rows);
  auto* input = request->add_inputs();
  input->set_name(spec.name());
  input->set_datatype(spec.datatype());
  input->add_shape(static_cast<int64_t>(end - begin));
  input->add_shape(spec.shape(1));
  std::string* raw = request->add_raw_input_contents();
  for (size_t r = begin; r < end; ++r) {
    for (size_t c = 0; c < rows.header.size(); ++c) {
      const std::string& cell = rows.rows[r][c];
      absl::Status s =
          AppendElement(cell.empty() ? "nan" : cell, spec.datatype(), CellName(rows, r, c), raw);
      if (!s.ok()) return s;
    }
  }
  return absl::OkStatus();
}

absl::Status AddColumns(const std::map<std::string, std::string>& columns, const Csv& rows,
                        size_t begin, size_t end, inference::ModelInferRequest* request) {
  for (size_t c = 0; c < rows.header.size(); ++c) {
    const bool text = columns.at(rows.header[c]) == "string";
    auto* input = request->add_inputs();
    input->set_name(rows.header[c]);
    input->set_datatype(text ? "BYTES" : "FP64");
    input->add_shape(static_cast<int64_t>(end - begin));
    std::string* raw = request->add_raw_input_contents();
    for (size_t r = begin; r < end; ++r) {
      const std::string& cell = rows.rows[r][c];
      absl::Status s = AppendElement(cell.empty() && !text ? "nan" : cell, input->datatype(),
                                     CellName(rows, r, c), raw);
      if (!s.ok()) return s;
    }
  }
  return absl::OkStatus();
}

// The columns of `csv` that belong to an output: "name", or "name[0]", "name[1]", ...
std::vector<size_t> ColumnsOf(const Csv& csv, const std::string& output) {
  std::vector<size_t> columns;
  for (size_t c = 0; c < csv.header.size(); ++c) {
    const std::string& name = csv.header[c];
    if (name == output || absl::StartsWith(name, output + "[")) columns.push_back(c);
  }
  return columns;
}

absl::Status AddExpected(const ModelMetadataResponse& metadata, const Csv& expect, size_t begin,
                         size_t end, GoldenRequest* golden) {
  for (const auto& output : metadata.outputs()) {
    const std::vector<size_t> columns = ColumnsOf(expect, output.name());
    if (columns.empty()) continue;
    golden->request.add_outputs()->set_name(output.name());
    std::string raw;
    for (size_t r = begin; r < end; ++r) {
      for (size_t c : columns) {
        absl::Status s =
            AppendElement(expect.rows[r][c], output.datatype(), CellName(expect, r, c), &raw);
        if (!s.ok()) return s;
      }
    }
    golden->expected.push_back(std::move(raw));
  }
  return absl::OkStatus();
}

absl::Status CheckHeader(const ModelMetadataResponse& metadata, const Csv& expect) {
  std::set<size_t> known;
  for (const auto& output : metadata.outputs()) {
    for (size_t c : ColumnsOf(expect, output.name())) known.insert(c);
  }
  for (size_t c = 0; c < expect.header.size(); ++c) {
    if (known.count(c) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("the model has no output for column '", expect.header[c], "'"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GoldenSet> MakeGolden(const ModelMetadataResponse& metadata, const Csv& rows,
                                     const Csv* expect, size_t rows_per_request) {
  if (rows.rows.empty()) return absl::InvalidArgumentError("no rows");
  if (expect != nullptr && expect->rows.size() != rows.rows.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(rows.rows.size(), " rows, but ", expect->rows.size(), " expected"));
  }
  if (expect != nullptr) {
    if (absl::Status s = CheckHeader(metadata, *expect); !s.ok()) return s;
  }
  const std::map<std::string, std::string> columns = RawColumns(metadata);
  const bool raw = std::all_of(rows.header.begin(), rows.header.end(),
                               [&](const std::string& name) { return columns.count(name) > 0; });
  GoldenSet set;
  for (const auto& output : metadata.outputs()) {
    if (expect != nullptr && ColumnsOf(*expect, output.name()).empty()) continue;
    set.output_names.push_back(output.name());
    set.output_types.push_back(output.datatype());
  }
  for (size_t begin = 0; begin < rows.rows.size(); begin += rows_per_request) {
    const size_t end = std::min(rows.rows.size(), begin + rows_per_request);
    GoldenRequest golden;
    golden.request.set_model_name(metadata.name());
    absl::Status s = raw ? AddColumns(columns, rows, begin, end, &golden.request)
                         : AddTensor(metadata, rows, begin, end, &golden.request);
    if (s.ok() && expect != nullptr) s = AddExpected(metadata, *expect, begin, end, &golden);
    if (!s.ok()) return s;
    set.requests.push_back(std::move(golden));
  }
  return set;
}

void SetTimeout(int64_t ms, GoldenSet* golden) {
  for (GoldenRequest& request : golden->requests) {
    (*request.request.mutable_parameters())["timeout"].set_int64_param(ms * 1000);
  }
}

}  // namespace millrace
