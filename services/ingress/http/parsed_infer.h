// What the body of an inference request says, once it is read.
//
// Purpose: the common result of the two body formats (infer_parser.h, predict_parser.h).
// Ownership: views point into the body and into the parser's storage; they live until the body
//   changes or the parser reads the next one. AnswerForm owns what it holds: it outlives both.
#pragma once

#include <stdint.h>

#include <string>
#include <string_view>
#include <vector>

#include "services/ingress/classification.h"
#include "services/ingress/client_shm/regions.h"
#include "services/ingress/frontend.h"

namespace millrace::http {

// How the client wants its answer.
struct AnswerForm {
  struct Output {
    std::string name;
    bool binary = false;
    RegionPlace place = {};  // in the client's shared memory; else in the answer
  };
  bool predictions = false;  // {"predictions": [...]} instead of the Open Inference Protocol
  std::string id;            // echoed; empty: none
  bool binary = false;       // for outputs not named in `outputs`
  std::vector<Output> outputs;
  Classification classes;  // outputs of which the k highest are asked for

  // Keeps capacity, but not that of a long id.
  void Clear() {
    constexpr size_t kKeptIdBytes = 1 << 10;
    predictions = binary = false;
    id.clear();
    if (id.capacity() > kKeptIdBytes) id.shrink_to_fit();
    outputs.clear();
    classes.Clear();
  }
};

struct ParsedInfer {
  std::vector<TensorView> inputs;
  std::vector<std::string_view> outputs;
  int64_t timeout_us = 0;  // 0: none given
  uint32_t priority = 0;
  std::string_view client_key;  // for routes; empty: none given
  AnswerForm form;

  // Keeps capacity.
  void Clear() {
    inputs.clear();
    outputs.clear();
    timeout_us = 0;
    priority = 0;
    client_key = {};
    form.Clear();
  }
};

}  // namespace millrace::http
