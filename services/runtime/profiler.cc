#include "services/runtime/profiler.h"

#include <gperftools/profiler.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/debugging/symbolize.h"
#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/profile.h"
#include "services/runtime/heap_samples.h"

namespace millrace {
namespace {

constexpr int kNiceness = 19;

std::atomic<bool> taken{false};

absl::StatusOr<Fd> NewMemory(const char* name) {
  Fd fd(memfd_create(name, MFD_CLOEXEC));
  if (!fd.valid()) return absl::ResourceExhaustedError("no memory or descriptor for a profile");
  return fd;
}

void SleepMs(int64_t duration_ms) {
  timespec left = {duration_ms / 1000, duration_ms % 1000 * kNanosPerMilli};
  while (nanosleep(&left, &left) != 0) {  // the sampler's own signal interrupts it
  }
}

std::vector<uint64_t> ReadWords(int fd) {
  struct stat info;
  if (fstat(fd, &info) != 0) return {};
  std::vector<uint64_t> words(info.st_size / sizeof(uint64_t));
  const ssize_t size = pread(fd, words.data(), words.size() * sizeof(uint64_t), 0);
  words.resize(size < 0 ? 0 : size / sizeof(uint64_t));
  return words;
}

std::string NameOf(uint64_t address) {
  char name[1024];
  return absl::Symbolize(reinterpret_cast<void*>(address), name, sizeof name) ? name : "";
}

absl::StatusOr<Fd> Write(const Profile& profile) {
  absl::StatusOr<Fd> fd = NewMemory("profile");
  if (!fd.ok()) return fd;
  if (!profile.SerializeToFileDescriptor(fd->get())) {
    return absl::ResourceExhaustedError("no memory for a profile");
  }
  return fd;
}

absl::StatusOr<Fd> Take(int64_t duration_ms) {
  absl::StatusOr<Fd> raw = NewMemory("samples");
  if (!raw.ok()) return raw;
  const int64_t begin_ns = MonotonicNanos();
  if (!ProfilerStart(absl::StrCat("/proc/self/fd/", raw->get()).c_str())) {
    return absl::InternalError("the sampler cannot be started");
  }
  SleepMs(duration_ms);
  ProfilerStop();
  const int64_t took_ns = MonotonicNanos() - begin_ns;
  absl::StatusOr<Profile> profile = FromCpuSamples(ReadWords(raw->get()), NameOf);
  if (!profile.ok()) return profile.status();
  profile->set_time_nanos(static_cast<int64_t>(time(nullptr)) * kNanosPerSecond - took_ns);
  profile->set_duration_nanos(took_ns);
  return Write(*profile);
}

absl::StatusOr<Fd> TakeHeap() {
  int64_t period_bytes = 0;
  const std::vector<HeapSample> samples = HeapSamples(&period_bytes);
  Profile profile = FromHeapSamples(samples, period_bytes, NameOf);
  profile.set_time_nanos(static_cast<int64_t>(time(nullptr)) * kNanosPerSecond);
  return Write(profile);
}

}  // namespace

absl::Status Profiler::BeginAny(std::function<absl::StatusOr<Fd>()> take,
                                std::function<void(absl::StatusOr<Fd>)> done) {
  // acquire: meets the release in the thread below, in Profiler::BeginAny.
  if (taken.exchange(true, std::memory_order_acquire)) {
    return absl::FailedPreconditionError("a profile of this process is being taken");
  }
  std::thread([take = std::move(take), done = std::move(done)] {
    // Of this thread alone, as Linux has it.
    setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kNiceness);
    absl::StatusOr<Fd> profile = take();
    // release: meets the acquire in Profiler::BeginAny.
    taken.store(false, std::memory_order_release);
    done(std::move(profile));
  }).detach();
  return absl::OkStatus();
}

absl::Status Profiler::Begin(int64_t duration_ms, std::function<void(absl::StatusOr<Fd>)> done) {
  if (duration_ms < 1 || duration_ms > kMostMs) {
    return absl::InvalidArgumentError(absl::StrCat("duration_ms: must be from 1 to ", kMostMs));
  }
  return BeginAny([duration_ms] { return Take(duration_ms); }, std::move(done));
}

absl::Status Profiler::BeginHeap(std::function<void(absl::StatusOr<Fd>)> done) {
  if (!HeapIsSampled()) {
    return absl::FailedPreconditionError(
        "the heap of this process is not sampled: set heap_profile of its stage to true");
  }
  return BeginAny([] { return TakeHeap(); }, std::move(done));
}

}  // namespace millrace
