// What the observer says of the pipeline, as a screen of text.
//
// Purpose: `millrace top`. Who may call: any thread; nothing is kept.
// Invariants: 1. no line is wider than the screen, and there are no more lines than it has.
//   2. what comes from the server is text: it moves no cursor and sets no colour.
//   3. what is not known is "-".
// What fails: INTERNAL where the answer has another form than the observer's.
#pragma once

#include <stddef.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace millrace {

struct TopScreen {
  size_t columns = 0;  // 0: as wide as it gets
  size_t lines = 0;    // 0: as many as it takes
  bool colour = false;
};

absl::StatusOr<std::string> RenderTop(const nlohmann::json& pipeline, const TopScreen& screen);

}  // namespace millrace
