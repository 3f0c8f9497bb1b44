#include "services/registry/fil_config.h"

#include <math.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"

namespace millrace {
namespace {

constexpr char kOutput[] = "output__0";

// Says how fast, never what.
struct Tuning {
  const char* key;
  std::vector<const char*> values;  // empty: a number
};

const std::vector<Tuning>& Tunings() {
  static const auto* const kTunings = new std::vector<Tuning>{
      {"algo", {"ALGO_AUTO", "NAIVE", "TREE_REORG", "BATCH_TREE_REORG"}},
      {"blocks_per_sm", {}},
      {"chunk_size", {}},
      {"cpu_nthread", {}},
      {"layout", {"depth_first", "breadth_first", "layered"}},
      {"storage_type", {"AUTO", "DENSE", "SPARSE", "SPARSE8"}},
      {"threads_per_tree", {}},
      {"transfer_threshold", {}},
      {"use_experimental_optimizations", {"true", "false"}},
  };
  return *kTunings;
}

absl::Status TakeBool(Parameters* parameters, const char* key, std::optional<bool>* value) {
  const std::optional<std::string> text = parameters->Take(key);
  if (!text.has_value()) return absl::OkStatus();
  const std::string lower = absl::AsciiStrToLower(*text);
  if (lower != "true" && lower != "false") {
    return parameters->Bad(key,
                           absl::StrCat(" is ", Printable(*text), ", and may be true or false"));
  }
  *value = lower == "true";
  return absl::OkStatus();
}

absl::Status TakeModelType(Parameters* parameters, FilOptions* options) {
  const std::optional<std::string> type = parameters->Take("model_type");
  const std::string name = type.value_or("xgboost");
  if (name == "xgboost_json") {
    options->format = name;
    options->files = {"xgboost.json", "model.json"};
  } else if (name == "xgboost_ubj") {
    options->format = name;
    options->files = {"xgboost.ubj", "model.ubj"};
  } else if (name == "lightgbm") {
    options->format = "lightgbm_text";
    options->files = {"model.txt"};
  } else if (name == "xgboost") {
    return parameters->Bad(
        "model_type", absl::StrCat(type.has_value() ? " is xgboost," : " is missing, which means",
                                   " XGBoost's old binary format: it is not supported; save the "
                                   "model as xgboost_json or xgboost_ubj"));
  } else if (name == "treelite_checkpoint") {
    return parameters->Bad("model_type",
                           " is treelite_checkpoint, which is not supported; there are "
                           "xgboost_json, xgboost_ubj and lightgbm");
  } else {
    return parameters->Bad("model_type",
                           absl::StrCat(" is ", Printable(name),
                                        "; there are xgboost_json, xgboost_ubj and lightgbm"));
  }
  return absl::OkStatus();
}

absl::Status TakeClasses(Parameters* parameters, FilOptions* options) {
  std::optional<bool> output_class, is_classifier, probabilities;
  if (absl::Status s = TakeBool(parameters, "output_class", &output_class); !s.ok()) return s;
  if (absl::Status s = TakeBool(parameters, "is_classifier", &is_classifier); !s.ok()) return s;
  if (absl::Status s = TakeBool(parameters, "predict_proba", &probabilities); !s.ok()) return s;
  if (!output_class.has_value() && !is_classifier.has_value()) {
    return parameters->Bad("output_class",
                           " (or is_classifier) is missing: true of a classifier, else false");
  }
  if (output_class.value_or(*is_classifier) != is_classifier.value_or(*output_class)) {
    return parameters->Bad("is_classifier", " is not what output_class says");
  }
  options->probabilities = probabilities.value_or(false);
  options->classes =
      output_class.value_or(is_classifier.value_or(false)) && !options->probabilities;
  return absl::OkStatus();
}

absl::Status TakeThreshold(Parameters* parameters, FilOptions* options) {
  const std::optional<std::string> text = parameters->Take("threshold");
  if (!text.has_value()) return absl::OkStatus();
  if (absl::SimpleAtof(*text, &options->threshold) && isfinite(options->threshold)) {
    return absl::OkStatus();
  }
  return parameters->Bad("threshold",
                         absl::StrCat(" is ", Printable(*text), ", and must be a finite number"));
}

absl::Status TakeTuning(Parameters* parameters, std::vector<std::string>* unused) {
  for (const Tuning& tuning : Tunings()) {
    const std::string place = parameters->Place(tuning.key);
    const std::optional<std::string> text = parameters->Take(tuning.key);
    if (!text.has_value()) continue;
    int64_t number = 0;
    const bool known = tuning.values.empty() ? absl::SimpleAtoi(*text, &number)
                                             : std::find(tuning.values.begin(), tuning.values.end(),
                                                         *text) != tuning.values.end();
    if (!known) {
      return parameters->Bad(
          tuning.key,
          absl::StrCat(" is ", Printable(*text), ", and must be ",
                       tuning.values.empty()
                           ? "a whole number"
                           : absl::StrCat("one of ", absl::StrJoin(tuning.values, ", "))));
    }
    unused->push_back(absl::StrCat(place, "parameters ", tuning.key,
                                   " is not used: it tunes FIL's kernels, which are not here"));
  }
  const std::string place = parameters->Place("xgboost_allow_unknown_field");
  std::optional<bool> unknown;
  if (absl::Status s = TakeBool(parameters, "xgboost_allow_unknown_field", &unknown); !s.ok()) {
    return s;
  }
  if (unknown.value_or(false)) {
    unused->push_back(absl::StrCat(place,
                                   "parameters xgboost_allow_unknown_field is not used: what a "
                                   "newer library adds may change the numbers, so it is refused"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FilOptions> TakeFilOptions(Parameters* parameters,
                                          std::vector<std::string>* unused) {
  FilOptions options;
  if (absl::Status s = TakeModelType(parameters, &options); !s.ok()) return s;
  if (absl::Status s = TakeClasses(parameters, &options); !s.ok()) return s;
  if (absl::Status s = TakeThreshold(parameters, &options); !s.ok()) return s;
  if (absl::Status s = TakeTuning(parameters, unused); !s.ok()) return s;
  return options;
}

absl::Status CheckFilOutputs(const ConfigLines& lines, registry::ModelConfig* config) {
  if (config->input_size() == 0) config->add_input()->set_name("input__0");
  if (config->output_size() == 0) config->add_output()->set_name(kOutput);
  for (int i = 0; i < config->output_size(); ++i) {
    const std::string& name = config->output(i).name();
    if (name == kOutput) continue;
    const bool shap = name == "treeshap_output";
    return lines.Bad(absl::StrCat("output[", i, "].name"),
                     absl::StrCat("output ", Printable(name),
                                  shap ? ": Shapley values are not supported"
                                       : ": backend fil has one output, output__0"));
  }
  return absl::OkStatus();
}

}  // namespace millrace
