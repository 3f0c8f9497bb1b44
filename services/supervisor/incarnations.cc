#include "services/supervisor/incarnations.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace millrace {

absl::StatusOr<Incarnations> Incarnations::Open(Fd kept) {
  Incarnations counter;
  if (!kept.valid()) {
    counter.fd_ = Fd(memfd_create("millrace-incarnations", MFD_CLOEXEC));
    if (!counter.fd_.valid()) {
      return absl::ResourceExhaustedError(absl::StrCat("memfd_create: ", strerror(errno)));
    }
    // Before anybody keeps it: a supervisor that is killed before it gives out a number leaves a
    // count that can be read.
    MR_CHECK(
        pwrite(counter.fd_.get(), &counter.next_, sizeof counter.next_, 0) == sizeof counter.next_,
        "four bytes of a memfd of ours can be written");
    return counter;
  }
  counter.fd_ = std::move(kept);
  uint32_t next = 0;
  if (pread(counter.fd_.get(), &next, sizeof next, 0) != sizeof next || next == 0) {
    return absl::DataLossError("the kept count of incarnations cannot be read");
  }
  counter.next_ = next;
  return counter;
}

uint32_t Incarnations::Next() {
  const uint32_t given = next_;
  MR_CHECK(given != UINT32_MAX, "four thousand million incarnations are enough");
  next_ += 1;
  MR_CHECK(pwrite(fd_.get(), &next_, sizeof next_, 0) == sizeof next_,
           "four bytes of a memfd of ours can be written");
  return given;
}

}  // namespace millrace
