#include "services/registry/feature_view.h"

#include <map>

#include "absl/strings/str_cat.h"
#include "common/config_yaml.h"
#include "services/registry/feature_transforms.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

constexpr size_t kMaxFeatures = 1 << 16;

class ViewParser {
 public:
  ViewParser(uint32_t features, std::string_view tensor_name, FeatureViewResult* result)
      : features_(features), tensor_name_(tensor_name), result_(*result) {}

  void Parse(std::string_view yaml) {
    const std::optional<YAML::Node> root = LoadYaml(yaml, &result_.faults);
    if (!root.has_value()) return;
    if (!YamlMap(*root, "", &result_.faults,
                 [this](const std::string& key, const YAML::Node& at, const YAML::Node& value) {
                   Top(key, at, value);
                 })) {
      return;
    }
    if (!(*root)["view"]) Fault(*root, "view", "is missing");
    if (!(*root)["features"]) Fault(*root, "features", "is missing");
  }

 private:
  void Fault(const YAML::Node& at, const std::string& field, const std::string& message) {
    AddFault(at, field, message, &result_.faults);
  }

  void Top(const std::string& key, const YAML::Node& at, const YAML::Node& value) {
    if (key == "features") return Features(at, value);
    if (key != "view") return Fault(at, Printable(key), "is not a field; there are view, features");
    if (!value.IsScalar() || !IsPlainName(value.Scalar())) {
      return Fault(at, key, "must be a name of at most 128 of A-Z a-z 0-9 _ . -");
    }
    result_.view.set_name(value.Scalar());
  }

  void Features(const YAML::Node& at, const YAML::Node& list) {
    if (!list.IsSequence() || list.size() == 0 || list.size() > kMaxFeatures) {
      return Fault(at, "features", absl::StrCat("must be a list of 1 to ", kMaxFeatures));
    }
    uint64_t width = 0;
    for (size_t i = 0; i < list.size(); ++i) {
      width += One(list[i], absl::StrCat("features[", i, "]"));
    }
    // A feature that is at fault has no width to speak of.
    if (!result_.faults.empty() || width == features_) return;
    Fault(at, "features",
          absl::StrCat("make ", width, " columns together, and the model takes ", features_));
  }

  uint32_t One(const YAML::Node& node, const std::string& field) {
    Feature* feature = result_.view.add_features();
    YAML::Node transforms;
    bool has_column = false;
    const bool is_map =
        YamlMap(node, field, &result_.faults,
                [&](const std::string& key, const YAML::Node& at, const YAML::Node& value) {
                  const std::string full = absl::StrCat(field, ".", Printable(key));
                  if (key == "column") {
                    has_column = true;
                    Column(value, full, feature);
                  } else if (key == "type") {
                    Type(value, full, feature);
                  } else if (key == "transforms") {
                    transforms = value;
                  } else {
                    Fault(at, full, "is not a field; a feature has column, type, transforms");
                  }
                });
    if (!is_map) return 0;
    if (!has_column) Fault(node, field + ".column", "is missing");
    CheckOneType(node, field, *feature);
    TransformParser parser(feature, &result_.faults);
    const size_t before = result_.faults.size();
    parser.Parse(transforms, field + ".transforms");
    // A list that is not there has no line; the feature has.
    for (size_t i = before; i < result_.faults.size(); ++i) {
      if (result_.faults[i].line == 0) result_.faults[i].line = YamlLine(node);
    }
    return parser.width();
  }

  void Column(const YAML::Node& value, const std::string& field, Feature* feature) {
    if (!value.IsScalar() || !IsTensorName(value.Scalar())) {
      return Fault(value, field, "must be a name of at most 128 bytes");
    }
    if (value.Scalar() == tensor_name_) {
      return Fault(value, field, "is the name of the model's ready tensor");
    }
    feature->set_column(value.Scalar());
  }

  void Type(const YAML::Node& value, const std::string& field, Feature* feature) {
    const std::string text = value.IsScalar() ? value.Scalar() : "";
    if (text == "number" || text == "string") {
      feature->set_type(text == "string" ? Feature::STRING : Feature::NUMBER);
    } else {
      Fault(value, field, "must be number or string");
    }
  }

  void CheckOneType(const YAML::Node& node, const std::string& field, const Feature& feature) {
    if (feature.column().empty()) return;
    const auto [entry, inserted] = types_.emplace(feature.column(), feature.type());
    if (inserted || entry->second == feature.type()) return;
    Fault(node, field + ".type",
          absl::StrCat("column ", feature.column(), " has another type further up"));
  }

  const uint32_t features_;
  const std::string tensor_name_;
  FeatureViewResult& result_;
  std::map<std::string, Feature::Type> types_;
};

}  // namespace

FeatureViewResult ParseFeatureView(std::string_view yaml, uint32_t features,
                                   std::string_view tensor_name) {
  FeatureViewResult result;
  ViewParser(features, tensor_name, &result).Parse(yaml);
  return result;
}

}  // namespace millrace
