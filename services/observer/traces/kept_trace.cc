#include "services/observer/traces/kept_trace.h"

#include "absl/status/status.h"

namespace millrace {

std::string CodeName(uint8_t code) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
}

bool IsServerFault(uint8_t code) {
  switch (static_cast<absl::StatusCode>(code)) {
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDataLoss:
      return true;
    default:
      return false;
  }
}

}  // namespace millrace
