#include "tools/bench/trees_bench/cases.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace millrace::bench {
namespace {

using nlohmann::json;

absl::StatusOr<Case> ReadCase(const json& entry, const std::filesystem::path& folder) {
  const auto file = [&](const char* key) -> std::string {
    return entry.contains(key) ? folder / entry.at(key).get<std::string>() : "";
  };
  const size_t rows = entry.at("rows"), features = entry.at("features");
  const size_t bytes = rows * features * sizeof(float);
  Case out{.name = entry.at("name"),
           .library = entry.at("library"),
           .model = file("model"),
           .onnx = file("onnx"),
           .rows = rows,
           .features = features,
           .groups = entry.at("groups"),
           .trees = entry.at("trees"),
           .leaves = entry.at("leaves"),
           .depth = entry.at("depth"),
           .data = AlignedBytes(bytes)};
  if (out.library != "xgboost" && out.library != "lightgbm") {
    return absl::InvalidArgumentError(absl::StrCat(out.name, ": no such library: ", out.library));
  }
  std::ifstream in(file("row_file"), std::ios::binary);
  in.read(reinterpret_cast<char*>(out.data.data()), static_cast<std::streamsize>(bytes));
  if (!in.good() || in.peek() != std::ifstream::traits_type::eof()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file("row_file"), " does not hold ", rows, " rows of ", features));
  }
  return out;
}

absl::StatusOr<CaseList> ReadAll(const json& document, const std::filesystem::path& folder,
                                 const std::vector<std::string>& names) {
  CaseList list;
  for (const json& peer : document.at("libraries")) {
    list.libraries.push_back({.subject = peer.at("subject"),
                              .library = peer.at("library"),
                              .version = peer.at("version"),
                              .path = peer.at("path")});
  }
  std::vector<std::string> known;
  for (const json& entry : document.at("cases")) known.push_back(entry.at("name"));
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("no case \"", name, "\"; there are: ", absl::StrJoin(known, ", ")));
    }
  }
  for (const json& entry : document.at("cases")) {
    const std::string name = entry.at("name");
    if (!names.empty() && std::find(names.begin(), names.end(), name) == names.end()) continue;
    auto found = ReadCase(entry, folder);
    if (!found.ok()) return found.status();
    list.cases.push_back(*std::move(found));
  }
  return list;
}

}  // namespace

absl::StatusOr<CaseList> ReadCases(const std::string& file, const std::vector<std::string>& names) {
  std::ifstream in(file);
  if (!in.good()) return absl::NotFoundError(absl::StrCat("cannot read ", file));
  try {
    return ReadAll(json::parse(in), std::filesystem::path(file).parent_path(), names);
  } catch (const json::exception& fault) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": ", fault.what()));
  }
}

}  // namespace millrace::bench
