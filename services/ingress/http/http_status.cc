#include "services/ingress/http/http_status.h"

#include <boost/beast/http/status.hpp>

#include "common/check.h"

namespace millrace::http {

int HttpCode(const absl::Status& status) {
  MR_CHECK(!status.ok(), "only an error has an error's code");
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kAlreadyExists:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnimplemented:
      return 501;
    // A client that went away is never answered; another CANCELLED means it was not executed.
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

bool MayRetry(int code) { return code == 429 || code == 503; }

std::string_view ReasonPhrase(int code) {
  const auto text = boost::beast::http::obsolete_reason(
      boost::beast::http::int_to_status(static_cast<unsigned>(code)));
  return std::string_view(text.data(), text.size());
}

}  // namespace millrace::http
