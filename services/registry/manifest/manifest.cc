#include "services/registry/manifest/manifest.h"

#include <math.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/config_yaml.h"
#include "services/registry/manifest/field_check.h"
#include "services/registry/manifest/utc.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

constexpr double kShareTolerance = 1e-3;

// These read what FieldCheck found good.
std::string TextAt(const YAML::Node& map, const char* name) {
  const YAML::Node node = map[name];
  return node ? node.Scalar() : "";
}

double Number(const YAML::Node& node) {
  double value = 0;
  MR_CHECK(absl::SimpleAtod(node.Scalar(), &value), "the form was checked");
  return value;
}

int64_t IntegerAt(const YAML::Node& map, const char* name, int64_t missing) {
  const YAML::Node node = map[name];
  int64_t value = missing;
  if (node) MR_CHECK(absl::SimpleAtoi(node.Scalar(), &value), "the form was checked");
  return value;
}

ValueRange RangeOf(const YAML::Node& node) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return {node[0].IsNull() ? -kInfinity : Number(node[0]),
          node[1].IsNull() ? kInfinity : Number(node[1])};
}

nlohmann::json ElementOf(const YAML::Node& node) {
  if (node.IsNull()) return nullptr;
  if (IsJsonNumber(node)) {
    return nlohmann::json::parse(node.Scalar(), nullptr, /*allow_exceptions=*/false);
  }
  const bool plain = node.Tag() != "!";
  if (plain && node.Scalar() == "true") return true;
  if (plain && node.Scalar() == "false") return false;
  return node.Scalar();
}

class Reader {
 public:
  explicit Reader(ManifestResult* result)
      : manifest_(result->manifest), faults_(result->faults), check_(&faults_) {}

  void Read(std::string_view yaml) {
    if (!IsUtf8(yaml)) {
      faults_.push_back({0, "", "the file is not UTF-8"});
      return;
    }
    const std::optional<YAML::Node> root = LoadYaml(yaml, &faults_);
    if (!root.has_value()) return;
    if (!root->IsMap()) {
      check_.Add(*root, "", "must be a map of names to values");
      return;
    }
    CheckForm(*root);
    Take(*root);
    CheckEnd(yaml);
    if (Good("signed") && manifest_.signature_block.has_value() && last_ != "signed") {
      check_.Add((*root)["signed"], "signed", "must be the last of the file");
    }
  }

 private:
  // A file that was cut between two sections would be taken for whole.
  void CheckEnd(std::string_view yaml) {
    const bool has_line = !yaml.empty() && yaml.back() == '\n';
    const bool has_end = yaml.size() > kManifestEnd.size() &&
                         yaml.substr(yaml.size() - kManifestEnd.size()) == kManifestEnd;
    if (has_end || (has_line && manifest_.signature_block.has_value())) return;
    faults_.push_back({0, "", "is not whole: its last line must be ... or that of its signature"});
  }

  // Each field at the top by itself, so that it is known which are good.
  void CheckForm(const YAML::Node& root) {
    std::set<std::string_view> seen;
    YamlMap(root, "", &faults_,
            [&](const std::string& key, const YAML::Node& at, const YAML::Node& value) {
              last_ = key;
              for (const ManifestField& field : ManifestTable().fields) {
                if (field.name != key) continue;
                seen.insert(field.name);
                const bool good = value.IsNull() ? check_.Add(at, key, "has no value")
                                                 : check_.Check(field, value, key);
                if (good) good_.insert(key);
                return;
              }
              check_.Add(at, Printable(key), "is not a field of a manifest");
            });
    for (const ManifestField& field : ManifestTable().fields) {
      if (!field.required || seen.count(field.name) > 0) continue;
      check_.Add(root, std::string(field.name), "is missing");
    }
  }

  bool Good(const std::string& field) const { return good_.count(field) > 0; }

  void Take(const YAML::Node& root) {
    if (Good("model")) manifest_.model = TextAt(root, "model");
    if (Good("owner")) manifest_.owner = TextAt(root, "owner");
    if (Good("trained_at")) manifest_.trained_at = TimeAt(root, "trained_at", "trained_at");
    if (Good("policy")) manifest_.policy = TextAt(root, "policy");
    if (Good("version")) manifest_.version = IntegerAt(root, "version", 0);
    if (Good("signature")) {
      TakeTensors(root["signature"], "inputs", &manifest_.inputs);
      TakeTensors(root["signature"], "outputs", &manifest_.outputs);
    }
    if (Good("files")) TakeFiles(root, "files", &manifest_.files);
    if (Good("shared")) TakeFiles(root, "shared", &manifest_.shared);
    if (Good("golden")) TakeGolden(root["golden"]);
    if (Good("lineage")) {
      const YAML::Node node = root["lineage"];
      manifest_.lineage = {TextAt(node, "data"), TextAt(node, "code"), IntegerAt(node, "parent", 0),
                           YamlLine(node)};
      if (manifest_.version != 0 && manifest_.lineage->parent == manifest_.version) {
        check_.Add(node["parent"], "lineage.parent", "is the version itself");
      }
    }
    if (Good("data_protection")) TakeTags(root["data_protection"]);
    if (Good("view")) {
      const YAML::Node node = root["view"];
      manifest_.view = {TextAt(node, "name"), TextAt(node, "sha256"), YamlLine(node)};
    }
    if (Good("reference")) TakeReference(root["reference"]);
    if (Good("signed")) {
      const YAML::Node node = root["signed"];
      manifest_.signature_block = {TextAt(node, "key"), TimeAt(node, "at", "signed.at"),
                                   TimeAt(node, "until", "signed.until"), TextAt(node, "ed25519"),
                                   YamlLine(node)};
    }
  }

  std::string TimeAt(const YAML::Node& map, const char* name, const std::string& path) {
    const std::string text = TextAt(map, name);
    if (!text.empty() && !ParseUtc(text).has_value()) check_.Add(map[name], path, "is no date");
    return text;
  }

  void TakeTensors(const YAML::Node& signature, const char* list,
                   std::vector<ManifestTensor>* tensors) {
    std::set<std::string> names;
    size_t i = 0;
    for (const YAML::Node& node : signature[list]) {
      const std::string path = absl::StrCat("signature.", list, "[", i++, "]");
      ManifestTensor tensor{TextAt(node, "name"),
                            *ParseDataType(TextAt(node, "datatype")),
                            0,
                            TextAt(node, "kind"),
                            {},
                            YamlLine(node)};
      if (!names.insert(tensor.name).second) check_.Add(node, path + ".name", "stands twice");
      const YAML::Node shape = node["shape"];
      tensor.columns = static_cast<int64_t>(Number(shape[1]));
      if (Number(shape[0]) != -1 || tensor.columns < 1) {
        check_.Add(shape, path + ".shape", "must be [-1, columns]");
      }
      TakeRanges(node, path, &tensor);
      tensors->push_back(std::move(tensor));
    }
  }

  void TakeRanges(const YAML::Node& node, const std::string& path, ManifestTensor* tensor) {
    const YAML::Node one = node["range"], each = node["ranges"];
    if (one && each) check_.Add(each, path + ".ranges", "is given beside range");
    if (one) tensor->ranges.push_back(RangeOf(one));
    if (each && !one) {
      for (const YAML::Node& range : each) tensor->ranges.push_back(RangeOf(range));
      if (static_cast<int64_t>(tensor->ranges.size()) != tensor->columns) {
        check_.Add(each, path + ".ranges",
                   absl::StrCat("has ", tensor->ranges.size(), " ranges for ", tensor->columns,
                                " columns"));
      }
    }
    for (const ValueRange& range : tensor->ranges) {
      if (range.low <= range.high) continue;
      check_.Add(one ? one : each, path + (one ? ".range" : ".ranges"),
                 "has a low end above its high end");
      return;
    }
  }

  void TakeFiles(const YAML::Node& root, const char* list, std::vector<ManifestFile>* files) {
    std::set<std::string> names;
    size_t i = 0;
    for (const YAML::Node& node : root[list]) {
      const std::string path = absl::StrCat(list, "[", i++, "].name");
      ManifestFile file{TextAt(node, "name"), TextAt(node, "sha256"), IntegerAt(node, "bytes", -1),
                        YamlLine(node)};
      if (file.name == kManifestFile) {
        check_.Add(node, path, "is the manifest, which cannot hold its own hash");
      }
      if (!names.insert(file.name).second) check_.Add(node, path, "stands twice");
      files->push_back(std::move(file));
    }
  }

  void TakeGolden(const YAML::Node& list) {
    size_t i = 0;
    for (const YAML::Node& node : list) {
      const std::string path = absl::StrCat("golden[", i++, "]");
      nlohmann::json json = {{"inputs", TensorsOf(node["inputs"])},
                             {"outputs", TensorsOf(node["outputs"])}};
      if (const YAML::Node tolerance = node["tolerance"]) {
        const double value = Number(tolerance);
        if (value < 0 || value >= 1) {
          check_.Add(tolerance, path + ".tolerance", "must be from 0 and below 1");
        }
        json["tolerance"] = value;
      }
      manifest_.golden.push_back(
          {json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), YamlLine(node)});
    }
  }

  static nlohmann::json TensorsOf(const YAML::Node& list) {
    nlohmann::json tensors = nlohmann::json::array();
    for (const YAML::Node& node : list) {
      nlohmann::json shape = nlohmann::json::array(), data = nlohmann::json::array();
      for (const YAML::Node& d : node["shape"]) shape.push_back(static_cast<int64_t>(Number(d)));
      for (const YAML::Node& element : node["data"]) data.push_back(ElementOf(element));
      tensors.push_back({{"name", TextAt(node, "name")},
                         {"datatype", TextAt(node, "datatype")},
                         {"shape", std::move(shape)},
                         {"data", std::move(data)}});
    }
    return tensors;
  }

  void TakeTags(const YAML::Node& list) {
    std::set<std::string> names;
    size_t i = 0;
    for (const YAML::Node& node : list) {
      DataTag tag{TextAt(node, "field"), TextAt(node, "purpose"), TextAt(node, "legal_basis"),
                  IntegerAt(node, "retention_days", 0), YamlLine(node)};
      if (!names.insert(tag.field).second) {
        check_.Add(node, absl::StrCat("data_protection[", i, "].field"), "stands twice");
      }
      ++i;
      manifest_.data_protection.push_back(std::move(tag));
    }
  }

  void TakeReference(const YAML::Node& list) {
    std::set<std::string> names;
    size_t i = 0;
    for (const YAML::Node& node : list) {
      const std::string path = absl::StrCat("reference[", i++, "]");
      ReferenceBins bins;
      bins.field = TextAt(node, "field");
      bins.line = YamlLine(node);
      if (!names.insert(bins.field).second) check_.Add(node, path + ".field", "stands twice");
      if (const YAML::Node edges = node["edges"]) {
        for (const YAML::Node& edge : edges) bins.edges.push_back(Number(edge));
      }
      if (const YAML::Node values = node["values"]) {
        for (const YAML::Node& value : values) bins.values.push_back(value.Scalar());
      }
      for (const YAML::Node& share : node["shares"]) bins.shares.push_back(Number(share));
      if (const YAML::Node missing = node["missing"]) bins.missing = Number(missing);
      CheckBins(node, path, bins);
      manifest_.reference.push_back(std::move(bins));
    }
  }

  void CheckBins(const YAML::Node& node, const std::string& path, const ReferenceBins& bins) {
    const bool has_edges = static_cast<bool>(node["edges"]);
    if (has_edges == static_cast<bool>(node["values"])) {
      check_.Add(node, path, "must have edges or values, and not both");
      return;
    }
    for (size_t e = 1; e < bins.edges.size(); ++e) {
      if (bins.edges[e - 1] < bins.edges[e]) continue;
      check_.Add(node, path + ".edges", "must ascend");
      break;
    }
    const size_t wanted = (has_edges ? bins.edges.size() : bins.values.size()) + 1;
    if (bins.shares.size() != wanted) {
      check_.Add(node, path + ".shares",
                 absl::StrCat("has ", bins.shares.size(), " shares for ", wanted, " bins"));
      return;
    }
    double sum = 0;
    bool negative = bins.missing < 0 || bins.missing > 1;
    for (const double share : bins.shares) {
      negative |= share < 0;
      sum += share;
    }
    if (negative) check_.Add(node, path + ".shares", "must each be from 0 to 1");
    if (fabs(sum - 1) > kShareTolerance) check_.Add(node, path + ".shares", "must be 1 together");
  }

  Manifest& manifest_;
  std::vector<ConfigFault>& faults_;
  FieldCheck check_;
  std::set<std::string> good_;
  std::string last_;
};

}  // namespace

ManifestResult ReadManifest(std::string_view yaml) {
  ManifestResult result;
  Reader(&result).Read(yaml);
  return result;
}

}  // namespace millrace
