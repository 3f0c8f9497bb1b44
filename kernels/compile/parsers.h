// The parsers behind CompileModel(); see compile.h for what they promise.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "kernels/compile/compile.h"
#include "kernels/compile/document.h"

namespace millrace {

absl::StatusOr<CompiledModel> CompileXgboost(const Json& document, ModelFormat format);
absl::StatusOr<CompiledModel> CompileLightgbm(std::string_view text);

}  // namespace millrace
