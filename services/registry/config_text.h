// config.pbtxt to its message, strictly, with the line of each of its fields.
//
// Purpose: protobuf's text format with our own sentences. Who may call: any thread.
// Invariants: 1. What the text holds is in the message, or named in `unused` (fields that change no
//   answer, config_options.h), or a fault; nothing is ignored in silence. 2. No parameter stands
//   twice. 3. No more than 64 messages are nested.
// What fails: INVALID_ARGUMENT "config.pbtxt:LINE: ..." for the first thing that is wrong.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "services/registry/model_config.pb.h"

namespace millrace {

// Where fields stand: "max_batch_size", "input[0].dims", "parameters.threshold".
class ConfigLines {
 public:
  void Add(const std::string& path, int line) { lines_.emplace(path, line); }
  // INVALID_ARGUMENT "config.pbtxt:LINE: SENTENCE", with the line of the field, or of the message
  // that would hold it; without one where neither is there.
  absl::Status Bad(std::string path, const std::string& sentence) const;
  std::string Place(std::string path) const;  // "config.pbtxt:LINE: "

 private:
  std::map<std::string, int> lines_;
};

struct ConfigText {
  registry::ModelConfig config;
  ConfigLines lines;
  std::vector<std::string> unused;  // "config.pbtxt:LINE: FIELD is not used: WHY"
};

absl::StatusOr<ConfigText> ParseConfigText(std::string_view text);

}  // namespace millrace
