// config.pbtxt to its message, strictly.
//
// Purpose: protobuf's text format with our own sentences. Who may call: any thread.
// What fails: INVALID_ARGUMENT "config.pbtxt:LINE: ..." for the first thing that is wrong; a field
//   that is not supported is named, never ignored. No more than 64 messages may be nested.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "services/registry/model_config.pb.h"

namespace millrace {

absl::StatusOr<registry::ModelConfig> ParseConfigText(std::string_view text);

}  // namespace millrace
