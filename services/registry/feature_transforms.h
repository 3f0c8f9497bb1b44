// The transforms of one feature, from YAML to the catalog.
//
// Purpose: read and check a list of transforms, with all its faults.
// Who may call: any thread; a parser is used for one feature.
// Invariants, where no fault was added: 1. a text is a number before anything computes with it and
//   at the end; 2. one_hot comes last, after a vocabulary or bucketize whose positions it spreads
//   (a fill or a cast may stand between), and its width holds every position that can come.
// What fails: what is wrong is added to the faults, with the line and the field's path.
#pragma once

#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

#include "common/config_yaml.h"
#include "ipc/catalog.pb.h"

namespace millrace {

class TransformParser {
 public:
  TransformParser(Feature* feature, std::vector<ConfigFault>* faults)
      : feature_(*feature), faults_(*faults), text_(feature->type() == Feature::STRING) {}

  // `field`: the path of the list, "features[2].transforms". An absent list is a null node.
  void Parse(const YAML::Node& list, const std::string& field);

  // Columns that the feature makes.
  uint32_t width() const { return width_; }

 private:
  using Node = YAML::Node;

  void One(const Node& node, const std::string& field);
  void Plain(const std::string& name, const Node& at, const std::string& field);
  void WithValue(const std::string& name, const Node& value, const std::string& field);
  void Fill(const Node& value, const std::string& field);
  void Clip(const Node& value, const std::string& field);
  void Scale(const Node& value, const std::string& field);
  void Bucketize(const Node& value, const std::string& field);
  void Vocabulary(const Node& value, const std::string& field);
  void Values(const Node& list, const std::string& field, Transform::Vocabulary* vocabulary);
  void Unknown(const Node& value, const std::string& field, Transform::Vocabulary* vocabulary);
  void OneHot(const Node& at, const std::string& field);
  void Cast(const Node& value, const std::string& field);

  // True, and the transform may be added; else the fault is.
  bool NeedsNumber(const Node& at, const std::string& field);
  std::optional<double> Number(const Node& node, const std::string& field, bool finite = true);
  void Fault(const Node& at, const std::string& field, const std::string& message);

  Feature& feature_;
  std::vector<ConfigFault>& faults_;
  bool text_;  // what stands now: a text or a number
  bool after_one_hot_ = false;
  std::optional<uint32_t> positions_;  // the number is a position below this
  // An unknown word's number; with one_hot to come it must be a position.
  std::optional<double> unknown_;
  uint32_t width_ = 1;
};

}  // namespace millrace
