#include "kernels/compile/compile.h"

#include <new>

#include "absl/strings/escaping.h"
#include "kernels/compile/parsers.h"

namespace millrace {
namespace {

// By the first bytes: UBJSON's keys are preceded by the type of their length, JSON's by a quote.
absl::StatusOr<ModelFormat> DetectFormat(std::string_view file) {
  if (file.empty()) return absl::InvalidArgumentError("the model file is empty");
  if (file.substr(0, 4) == "binf" || file.substr(0, 4) == "bs64") {
    return absl::UnimplementedError(
        "XGBoost's old binary format is not supported: load the model with XGBoost before 3.1 and "
        "save it as .json or .ubj");
  }
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t start = file.find_first_not_of(kSpace);
  if (start != file.npos && file[start] == '{') {
    const size_t next = file.find_first_not_of(kSpace, start + 1);
    const char c = next == file.npos ? '"' : file[next];
    return c == '"' || c == '}' ? ModelFormat::kXgboostJson : ModelFormat::kXgboostUbj;
  }
  if (file.substr(0, 5) == "tree\n" || file.substr(0, 6) == "tree\r\n") {
    return ModelFormat::kLightgbmText;
  }
  return absl::InvalidArgumentError(
      "the model file is neither XGBoost JSON, nor XGBoost UBJSON, nor LightGBM text");
}

absl::StatusOr<CompiledModel> Compile(std::string_view file, ModelFormat format) {
  if (format == ModelFormat::kAuto) {
    const absl::StatusOr<ModelFormat> found = DetectFormat(file);
    if (!found.ok()) return found.status();
    format = *found;
  }
  if (format == ModelFormat::kLightgbmText) return CompileLightgbm(file);
  const absl::StatusOr<Json> document =
      format == ModelFormat::kXgboostJson ? ParseJsonText(file) : ParseUbjson(file);
  if (!document.ok()) return document.status();
  return CompileXgboost(*document, format);
}

}  // namespace

std::string_view ModelFormatName(ModelFormat format) {
  switch (format) {
    case ModelFormat::kAuto:
      return "auto";
    case ModelFormat::kXgboostJson:
      return "xgboost_json";
    case ModelFormat::kXgboostUbj:
      return "xgboost_ubj";
    case ModelFormat::kLightgbmText:
      return "lightgbm_text";
  }
  return "unknown";
}

absl::StatusOr<ModelFormat> ParseModelFormat(std::string_view name) {
  for (const ModelFormat format : {ModelFormat::kAuto, ModelFormat::kXgboostJson,
                                   ModelFormat::kXgboostUbj, ModelFormat::kLightgbmText}) {
    if (ModelFormatName(format) == name) return format;
  }
  return Fault("format: \"", absl::CHexEscape(std::string(name)),
               "\" is not auto, xgboost_json, xgboost_ubj or lightgbm_text");
}

absl::StatusOr<CompiledModel> CompileModel(std::string_view file, ModelFormat format) {
  try {
    return Compile(file, format);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("the model does not fit the compiler's memory limit");
  }
}

}  // namespace millrace
