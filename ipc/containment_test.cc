// Programs that try to break out: everything that a process can do with a region's descriptor, or
// to the process that owns it, and the kernel's answer to each. The same attempts on memory that
// is not sealed, and on an owner that is not closed, succeed: the tests can fail.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "ipc/memfd.h"
#include "ipc/testing/break_out.h"
#include "ipc/testing/must.h"

namespace millrace {
namespace {

constexpr RegionType kType = {RegionKind::kArena, 4711};
constexpr size_t kSize = 4 * 4096;
constexpr uid_t kNobody = 65534;
constexpr uid_t kSomebody = 65533;  // has no name anywhere; a uid needs none
constexpr int kOwned = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

std::byte Own(size_t i) { return static_cast<std::byte>(1 + i % 127); }

void Fill(std::byte* bytes) {
  for (size_t i = sizeof(RegionHeader); i < kSize; ++i) bytes[i] = Own(i);
}

// What its owner finds changed; "" if nothing.
std::string Harm(int fd, int seals, const volatile std::byte* bytes) {
  struct stat info;
  if (fstat(fd, &info) != 0) return "no file";
  if (info.st_size != static_cast<off_t>(kSize)) return "size";  // do not touch what may be gone
  if (fcntl(fd, F_GET_SEALS) != seals) return "seals";
  if (info.st_blocks * 512 < info.st_size) return "memory given back";
  for (size_t i = sizeof(RegionHeader); i < kSize; ++i) {
    if (bytes[i] != Own(i)) return "bytes";
  }
  return "";
}

// The owner writes, and a reader sees it.
bool OwnerWrites(const Region& owner) {
  const Region reader = Must(Region::Open(owner.fd().get(), kType, 7, kSize));
  owner.bytes()[kAttackedByte] = std::byte{0};
  const bool seen = reader.bytes()[kAttackedByte] == std::byte{0};
  owner.bytes()[kAttackedByte] = Own(kAttackedByte);
  return seen && reader.bytes()[kAttackedByte] == Own(kAttackedByte);
}

// One attempt by the descriptor: what becomes of it on a region, as the owner's user and as
// another one, and on an unsealed memfd, whose owner then finds `harm` (null: kernels differ).
struct Case {
  const char* name;
  Attempt attempt;
  const char* same;
  const char* other;
  const char* unsealed;
  const char* harm;
};

constexpr Case kCases[] = {
    {"map writable", MapWritable, "mmap: EPERM", "mmap: EPERM", "done", "bytes"},
    {"mprotect", MakeMapWritable, "mprotect: EACCES", "mprotect: EACCES", "done", "bytes"},
    {"write", Write, "write: EPERM", "write: EPERM", "done", "bytes"},
    {"pwrite", WriteAt, "pwrite: EPERM", "pwrite: EPERM", "done", "bytes"},
    {"sendfile", SendFile, "sendfile: EPERM", "sendfile: EPERM", "done", "bytes"},
    // The owner's user may open the file anew; the seals are the file's, not the descriptor's.
    {"reopen, map", ReopenAndMap, "mmap: EPERM", "open: EACCES", "done", "bytes"},
    {"reopen, cut", ReopenAndTruncate, "open: EPERM", "open: EACCES", "done", "size"},
    {"chmod, map", OpenToAllAndMap, "mmap: EPERM", "fchmod: EPERM", "done", "bytes"},
    {"shrink", Shrink, "ftruncate: EPERM", "ftruncate: EPERM", "done", "size"},
    {"grow", Grow, "ftruncate: EPERM", "ftruncate: EPERM", "done", "size"},
    {"allocate", GrowByAllocation, "fallocate: EPERM", "fallocate: EPERM", "done", "size"},
    {"punch", PunchHole, "fallocate: EPERM", "fallocate: EPERM", "done", "memory given back"},
    {"seal", AddSeal, "F_ADD_SEALS: EPERM", "F_ADD_SEALS: EPERM", "done", "seals"},
    {"unseal", ChangeNoSeal, "F_ADD_SEALS: EPERM", "F_ADD_SEALS: EPERM", "done", ""},
    // A private mapping is the attacker's own copy: it may write it, nobody sees it.
    {"private map", WritePrivateMap, "done", "done", "done", ""},
    // These are closed by the mapping's protection, sealed or not.
    {"read-only map", WriteReadOnlyMap, "SIGSEGV", "SIGSEGV", "SIGSEGV", ""},
    {"forced", ForceReadOnlyMap, "pwrite: EIO", "pwrite: EIO", "pwrite: EIO", ""},
    // Through a read-only mapping; where a file is not sealed, newer kernels allow it.
    {"removed", RemoveThroughMap, "madvise: EACCES", "madvise: EACCES", nullptr, ""},
    // An owner's mapping is not there in its children (MADV_DONTFORK).
    {"inherited map", WriteInheritedMap, "SIGSEGV", "SIGSEGV", "done", "bytes"},
};

class DescriptorTest : public ::testing::TestWithParam<Case> {};

void ExpectRefused(uid_t uid, Attempt attempt, const std::string& expected) {
  const Region owner = Must(Region::Create(kType, 7, kSize));
  Fill(owner.bytes());
  const Target target = {owner.fd().get(), kSize, owner.bytes(), getpid()};
  EXPECT_EQ(RunAs(uid, attempt, target), expected);
  EXPECT_EQ(Harm(owner.fd().get(), kOwned, owner.bytes()), "");
  EXPECT_TRUE(OwnerWrites(owner));
}

TEST_P(DescriptorTest, RefusedToTheOwnersUser) {
  ExpectRefused(getuid(), GetParam().attempt, GetParam().same);
}

TEST_P(DescriptorTest, RefusedToAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  ExpectRefused(kNobody, GetParam().attempt, GetParam().other);
}

TEST_P(DescriptorTest, WithoutSealsItSucceeds) {
  if (GetParam().unsealed == nullptr) GTEST_SKIP() << "kernels differ";
  const Fd fd(memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(posix_fallocate(fd.get(), 0, kSize), 0);
  void* map = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  auto* bytes = static_cast<std::byte*>(map);
  Fill(bytes);
  const Target target = {fd.get(), kSize, bytes, getpid()};
  EXPECT_EQ(RunAs(getuid(), GetParam().attempt, target), GetParam().unsealed);
  EXPECT_EQ(Harm(fd.get(), 0, bytes), GetParam().harm);
  munmap(map, kSize);
}

std::string CaseName(const ::testing::TestParamInfo<Case>& info) {
  std::string name;
  for (char c : std::string(info.param.name)) name += isalnum(c) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Break, DescriptorTest, ::testing::ValuesIn(kCases), CaseName);

// A process that owns a region, as a user of its own, closed to debuggers or not.
class Owner {
 public:
  Owner(uid_t uid, bool dumpable) {
    int ends[2];
    MustOk(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0
               ? absl::OkStatus()
               : absl::InternalError("socketpair"));
    socket_ = Fd(ends[0]);
    Fd theirs(ends[1]);
    pid_ = fork();
    if (pid_ == 0) {
      socket_ = Fd();
      Serve(theirs.get(), uid, dumpable);
      _exit(0);
    }
    theirs = Fd();
    if (read(socket_.get(), &target_, sizeof target_) != sizeof target_) {
      MustOk(absl::InternalError("the owner did not start"));
    }
    target_.owner = pid_;
  }
  ~Owner() {
    socket_ = Fd();
    waitpid(pid_, nullptr, 0);
  }

  const Target& target() const { return target_; }

  // What the owner finds changed; "" if nothing and it can still write.
  std::string Harmed() const {
    char text[64] = {};
    if (write(socket_.get(), "?", 1) != 1) return "the owner is gone";
    if (read(socket_.get(), text, sizeof text - 1) <= 0) return "the owner is gone";
    return text + 1;
  }

 private:
  static void Serve(int socket, uid_t uid, bool dumpable) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (uid != getuid() && (setgroups(0, nullptr) != 0 || setresgid(uid, uid, uid) != 0 ||
                            setresuid(uid, uid, uid) != 0)) {
      _exit(1);
    }
    prctl(PR_SET_DUMPABLE, dumpable ? 1 : 0);  // after the change of user, which resets it
    // What Yama (a kernel module of some distributions) adds is not what is tested.
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    const Region region = Must(Region::Create(kType, 7, kSize));
    Fill(region.bytes());
    const Target target = {region.fd().get(), kSize, region.bytes(), getpid()};
    if (write(socket, &target, sizeof target) != sizeof target) _exit(1);
    for (char ask; read(socket, &ask, 1) == 1;) {
      std::string answer = Harm(region.fd().get(), kOwned, region.bytes());
      if (answer.empty() && !OwnerWrites(region)) answer = "the owner cannot write";
      Fill(region.bytes());
      answer = ":" + answer;
      if (write(socket, answer.data(), answer.size()) < 0) _exit(1);
    }
  }

  Fd socket_;
  pid_t pid_;
  Target target_ = {};
};

// One attempt by the owner's process: what becomes of it where the kernel lets nobody near, and
// where it lets the attacker debug the owner, as its user or as root. The owner then finds `harm`.
struct ProcessCase {
  const char* name;
  Attempt attempt;
  const char* closed;
  const char* open;
  const char* root;
  const char* harm;
};

constexpr ProcessCase kProcessCases[] = {
    {"mem", WriteOwnersMem, "open: EACCES", "done", "done", "bytes"},
    {"vm", WriteOwnersVm, "process_vm_writev: EPERM", "done", "done", "bytes"},
    {"ptrace", PokeOwner, "attach: EPERM", "done", "done", "bytes"},
    // What only leads to the descriptor again ends at the seals, debugger or not.
    {"fd", OpenOwnersFd, "open: EACCES", "mmap: EPERM", "mmap: EPERM", ""},
    {"map_files", OpenOwnersMap, "open: EACCES", "open: EPERM", "mmap: EPERM", ""},
    {"getfd", TakeOwnersFd, "pidfd_getfd: EPERM", "mmap: EPERM", "mmap: EPERM", ""},
};

void ExpectClosed(uid_t owner_uid, bool dumpable, uid_t attacker) {
  const Owner owner(owner_uid, dumpable);
  for (const ProcessCase& c : kProcessCases) {
    EXPECT_EQ(RunAs(attacker, c.attempt, owner.target()), c.closed) << c.name;
    EXPECT_EQ(owner.Harmed(), "") << c.name;
  }
}

void ExpectOpen(uid_t owner_uid, bool dumpable, uid_t attacker) {
  const Owner owner(owner_uid, dumpable);
  for (const ProcessCase& c : kProcessCases) {
    const std::string expected = attacker == 0 ? c.root : c.open;
    EXPECT_EQ(RunAs(attacker, c.attempt, owner.target()), expected) << c.name;
    EXPECT_EQ(owner.Harmed(), c.harm) << c.name;
  }
}

// The user to be where it must not be root.
uid_t OneUser() { return geteuid() == 0 ? kNobody : getuid(); }

bool YamaForbids() {
  int scope = 0;
  std::ifstream("/proc/sys/kernel/yama/ptrace_scope") >> scope;
  return scope > 1;
}

bool MayTraceAll() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  return (data[0].effective >> CAP_SYS_PTRACE & 1) != 0;
}

TEST(ProcessTest, AClosedOwnerIsClosedToItsOwnUser) {
  ExpectClosed(OneUser(), /*dumpable=*/false, OneUser());
}

// Containment is as strong as the users are separate: under one uid it is PR_SET_DUMPABLE 0, as
// every process of Millrace sets it, that closes the owner. Without it the kernel lets a user's
// processes debug each other, and a debugger writes what its victim can write.
TEST(ProcessTest, AnOwnerLeftOpenIsOpenToItsOwnUser) {
  if (YamaForbids()) GTEST_SKIP() << "this kernel lets no user debug (Yama)";
  ExpectOpen(OneUser(), /*dumpable=*/true, OneUser());
}

TEST(ProcessTest, AnyOwnerIsClosedToAnotherUser) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  ExpectClosed(kNobody, /*dumpable=*/true, kSomebody);
  ExpectClosed(kNobody, /*dumpable=*/false, kSomebody);
}

TEST(ProcessTest, RootsOwnMemoryIsClosedToOthers) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  ExpectClosed(getuid(), /*dumpable=*/true, kNobody);
}

// As root there is no containment: root debugs everybody, PR_SET_DUMPABLE or not.
TEST(ProcessTest, NothingIsClosedToRoot) {
  if (geteuid() != 0 || !MayTraceAll()) GTEST_SKIP() << "only root with CAP_SYS_PTRACE can";
  ExpectOpen(kNobody, /*dumpable=*/false, getuid());
}

}  // namespace
}  // namespace millrace
