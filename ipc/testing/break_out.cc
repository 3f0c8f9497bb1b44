#include "ipc/testing/break_out.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/fd.h"

namespace millrace {
namespace {

constexpr char kDone[] = "done";

std::string Failed(const char* step) { return std::string(step) + ": " + strerrorname_np(errno); }

std::string DoneIf(bool done, const char* step) { return done ? kDone : Failed(step); }

void Put(void* map) { static_cast<volatile std::byte*>(map)[kAttackedByte] = kForeign; }

void* Map(const Target& target, int protection, int flags) {
  return mmap(nullptr, target.size, protection, flags, target.fd, 0);
}

std::string MapWritableAndPut(int fd, size_t size) {
  void* map = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) return Failed("mmap");
  Put(map);
  return kDone;
}

std::string OpenAndMap(const std::string& path, size_t size) {
  const Fd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) return Failed("open");
  return MapWritableAndPut(fd.get(), size);
}

std::string OwnPath(const Target& target) { return "/proc/self/fd/" + std::to_string(target.fd); }

std::string OwnersPath(const Target& target, const std::string& name) {
  return "/proc/" + std::to_string(target.owner) + "/" + name;
}

bool Become(uid_t uid) {
  const rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  for (int number : {SIGSEGV, SIGBUS}) signal(number, SIG_DFL);
  if (uid != getuid()) {
    if (setgroups(0, nullptr) != 0 || setresgid(uid, uid, uid) != 0) return false;
    if (setresuid(uid, uid, uid) != 0) return false;
  }
  // A change of user takes a process's own /proc away from it.
  return prctl(PR_SET_DUMPABLE, 1) == 0;
}

}  // namespace

std::string RunAs(uid_t uid, Attempt attempt, const Target& target) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Failed("set-up");
  const Fd said(ends[0]);
  Fd say(ends[1]);
  const pid_t child = fork();
  if (child < 0) return Failed("set-up");
  if (child == 0) {
    const std::string outcome = Become(uid) ? attempt(target) : Failed("set-up");
    _exit(write(say.get(), outcome.data(), outcome.size()) < 0);
  }
  say = Fd();
  std::string outcome;
  char part[64];
  for (ssize_t n; (n = read(said.get(), part, sizeof part)) > 0;) outcome.append(part, n);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? std::string("SIG") + sigabbrev_np(WTERMSIG(status)) : outcome;
}

std::string MapWritable(const Target& target) { return MapWritableAndPut(target.fd, target.size); }

std::string MakeMapWritable(const Target& target) {
  void* map = Map(target, PROT_READ, MAP_SHARED);
  if (map == MAP_FAILED) return Failed("mmap");
  if (mprotect(map, target.size, PROT_READ | PROT_WRITE) != 0) return Failed("mprotect");
  Put(map);
  return kDone;
}

std::string Write(const Target& target) {
  if (lseek(target.fd, kAttackedByte, SEEK_SET) < 0) return Failed("lseek");
  return DoneIf(write(target.fd, &kForeign, 1) == 1, "write");
}

std::string WriteAt(const Target& target) {
  return DoneIf(pwrite(target.fd, &kForeign, 1, kAttackedByte) == 1, "pwrite");
}

std::string SendFile(const Target& target) {
  const Fd source(memfd_create("source", MFD_CLOEXEC));
  if (pwrite(source.get(), &kForeign, 1, 0) != 1) return Failed("source");
  if (lseek(target.fd, kAttackedByte, SEEK_SET) < 0) return Failed("lseek");
  off_t from = 0;
  return DoneIf(sendfile(target.fd, source.get(), &from, 1) == 1, "sendfile");
}

std::string ReopenAndMap(const Target& target) { return OpenAndMap(OwnPath(target), target.size); }

std::string ReopenAndTruncate(const Target& target) {
  const Fd fd(open(OwnPath(target).c_str(), O_RDWR | O_TRUNC | O_CLOEXEC));
  return DoneIf(fd.valid(), "open");
}

std::string OpenToAllAndMap(const Target& target) {
  if (fchmod(target.fd, 0666) != 0) return Failed("fchmod");
  return OpenAndMap(OwnPath(target), target.size);
}

std::string Shrink(const Target& target) {
  return DoneIf(ftruncate(target.fd, target.size - 4096) == 0, "ftruncate");
}

std::string Grow(const Target& target) {
  return DoneIf(ftruncate(target.fd, target.size + 4096) == 0, "ftruncate");
}

std::string GrowByAllocation(const Target& target) {
  return DoneIf(fallocate(target.fd, 0, target.size, 4096) == 0, "fallocate");
}

std::string PunchHole(const Target& target) {
  constexpr int kMode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  return DoneIf(fallocate(target.fd, kMode, 0, target.size) == 0, "fallocate");
}

std::string AddSeal(const Target& target) {
  return DoneIf(fcntl(target.fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0, "F_ADD_SEALS");
}

// There is no call that takes a seal away; the nearest is a change that adds none.
std::string ChangeNoSeal(const Target& target) {
  return DoneIf(fcntl(target.fd, F_ADD_SEALS, 0) == 0, "F_ADD_SEALS");
}

std::string WritePrivateMap(const Target& target) {
  void* map = Map(target, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  if (map == MAP_FAILED) return Failed("mmap");
  Put(map);
  return static_cast<std::byte*>(map)[kAttackedByte] == kForeign ? kDone : "not written";
}

std::string WriteReadOnlyMap(const Target& target) {
  void* map = Map(target, PROT_READ, MAP_SHARED);
  if (map == MAP_FAILED) return Failed("mmap");
  Put(map);
  return kDone;
}

// A debugger's write, which overrides the protection of a page where it may be copied.
std::string ForceReadOnlyMap(const Target& target) {
  void* map = Map(target, PROT_READ, MAP_SHARED);
  if (map == MAP_FAILED) return Failed("mmap");
  const Fd mem(open("/proc/self/mem", O_RDWR | O_CLOEXEC));
  if (!mem.valid()) return Failed("open");
  const auto at = reinterpret_cast<off_t>(static_cast<std::byte*>(map) + kAttackedByte);
  return DoneIf(pwrite(mem.get(), &kForeign, 1, at) == 1, "pwrite");
}

std::string RemoveThroughMap(const Target& target) {
  void* map = Map(target, PROT_READ, MAP_SHARED);
  if (map == MAP_FAILED) return Failed("mmap");
  return DoneIf(madvise(map, target.size, MADV_REMOVE) == 0, "madvise");
}

std::string WriteInheritedMap(const Target& target) {
  Put(target.address);
  return kDone;
}

std::string WriteOwnersMem(const Target& target) {
  const Fd mem(open(OwnersPath(target, "mem").c_str(), O_RDWR | O_CLOEXEC));
  if (!mem.valid()) return Failed("open");
  const auto at = reinterpret_cast<off_t>(target.address + kAttackedByte);
  return DoneIf(pwrite(mem.get(), &kForeign, 1, at) == 1, "pwrite");
}

std::string WriteOwnersVm(const Target& target) {
  std::byte foreign = kForeign;
  const iovec from = {&foreign, 1};
  const iovec to = {target.address + kAttackedByte, 1};
  return DoneIf(process_vm_writev(target.owner, &from, 1, &to, 1, 0) == 1, "process_vm_writev");
}

std::string PokeOwner(const Target& target) {
  if (ptrace(PTRACE_ATTACH, target.owner, nullptr, nullptr) != 0) return Failed("attach");
  waitpid(target.owner, nullptr, 0);
  long word;
  memset(&word, static_cast<int>(kForeign), sizeof word);
  static_assert(kAttackedByte % sizeof word == 0);
  const bool poked = ptrace(PTRACE_POKEDATA, target.owner, target.address + kAttackedByte,
                            reinterpret_cast<void*>(word)) == 0;
  const std::string outcome = DoneIf(poked, "poke");
  ptrace(PTRACE_DETACH, target.owner, nullptr, nullptr);
  return outcome;
}

std::string OpenOwnersFd(const Target& target) {
  return OpenAndMap(OwnersPath(target, "fd/" + std::to_string(target.fd)), target.size);
}

std::string OpenOwnersMap(const Target& target) {
  char range[64];
  const auto begin = reinterpret_cast<uintptr_t>(target.address);
  snprintf(range, sizeof range, "map_files/%lx-%lx", begin, begin + target.size);
  return OpenAndMap(OwnersPath(target, range), target.size);
}

std::string TakeOwnersFd(const Target& target) {
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, target.owner, 0)));
  if (!pidfd.valid()) return Failed("pidfd_open");
  const Fd fd(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), target.fd, 0)));
  if (!fd.valid()) return Failed("pidfd_getfd");
  return MapWritableAndPut(fd.get(), target.size);
}

}  // namespace millrace
