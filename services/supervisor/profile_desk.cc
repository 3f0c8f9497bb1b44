#include "services/supervisor/profile_desk.h"

#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

// Of a file that its writer may still change: bounded, and copied.
absl::StatusOr<std::string> ReadAll(int fd) {
  struct stat info;
  if (fstat(fd, &info) != 0 || info.st_size <= 0) {
    return absl::InternalError("the profile is empty");
  }
  if (static_cast<uint64_t>(info.st_size) > ProfileDesk::kMostBytes) {
    return absl::ResourceExhaustedError(absl::StrCat("the profile has ", info.st_size,
                                                     " bytes, more than ", ProfileDesk::kMostBytes,
                                                     ": take a shorter one"));
  }
  std::string bytes(info.st_size, '\0');
  const ssize_t size = pread(fd, bytes.data(), bytes.size(), 0);
  bytes.resize(size < 0 ? 0 : size);
  return bytes;
}

}  // namespace

absl::Status ProfileDesk::Expect(uint64_t request, uint32_t key, int64_t now_ns,
                                 int64_t duration_ns) {
  std::erase_if(open_, [&](const auto& entry) { return entry.second.until_ns < now_ns; });
  if (open_.size() >= kMost) {
    return absl::ResourceExhaustedError(absl::StrCat(kMost, " profiles are being taken"));
  }
  Open& open = open_[request];
  open.key = key;
  open.until_ns = now_ns + duration_ns + kPatienceNs;
  return absl::OkStatus();
}

bool ProfileDesk::Take(uint32_t key, const ProfileTaken& taken, const std::vector<Fd>& fds) {
  const auto found = open_.find(taken.request());
  if (found == open_.end()) return true;  // nobody waits for it any more
  if (found->second.key != key || found->second.outcome.has_value()) return false;
  if (taken.code() != 0) {
    found->second.outcome =
        absl::Status(static_cast<absl::StatusCode>(taken.code()), taken.message());
    return true;
  }
  if (fds.size() != 1) return false;
  found->second.outcome = ReadAll(fds[0].get());
  return true;
}

void ProfileDesk::ProcessGone(uint32_t key) {
  for (auto& [request, open] : open_) {
    if (open.key != key || open.outcome.has_value()) continue;
    open.outcome = absl::UnavailableError("the process ended before its profile was taken");
  }
}

std::optional<absl::StatusOr<std::string>> ProfileDesk::Outcome(uint64_t request, int64_t now_ns) {
  const auto found = open_.find(request);
  if (found == open_.end()) return absl::NotFoundError("the profile was not asked for");
  std::optional<absl::StatusOr<std::string>> outcome = std::move(found->second.outcome);
  if (!outcome.has_value() && now_ns < found->second.until_ns) return std::nullopt;
  open_.erase(found);
  if (outcome.has_value()) return outcome;
  return absl::DeadlineExceededError("the process did not give its profile in time");
}

}  // namespace millrace
