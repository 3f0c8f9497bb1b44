#include "kernels/compile/testing/attacks.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace millrace {
namespace {

constexpr size_t kPage = 4096;
constexpr long kX32 = 0x40000000;

char buffer[64] = "x";
char* const kArgv[] = {const_cast<char*>("true"), nullptr};

long Call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  return syscall(number, a, b, c, d, e, f);
}
long P(const void* pointer) { return reinterpret_cast<long>(pointer); }

// By the gate of 32-bit programs.
long Int80(long number) {
#ifdef __x86_64__
  long result = number;
  asm volatile("int $0x80"
               : "+a"(result)
               : "b"(0), "c"(0), "d"(0)
               : "memory", "r8", "r9", "r10", "r11");
  return result;
#else
  return -number;
#endif
}

#define ATTACK(name, expression)               \
  {                                            \
    name, [](const Hostage& hostage) -> long { \
      (void)hostage;                           \
      return (expression);                     \
    }                                          \
  }

const std::vector<Attack>& Files() {
  static const auto* const kAttacks = new std::vector<Attack>{
      ATTACK("open", Call(SYS_open, P("/etc/passwd"), O_RDONLY)),
      ATTACK("openat", Call(SYS_openat, AT_FDCWD, P("/etc/passwd"), O_RDONLY)),
      ATTACK("openat2", Call(SYS_openat2, AT_FDCWD, P("/etc/passwd"), P(buffer), 24)),
      ATTACK("creat", Call(SYS_creat, P("escaped"), 0600)),
      ATTACK("own memory", Call(SYS_openat, AT_FDCWD, P("/proc/self/mem"), O_RDWR)),
      ATTACK("parent's memory", Call(SYS_openat, AT_FDCWD, P("/proc/1/mem"), O_RDWR)),
      ATTACK("open by handle", Call(SYS_open_by_handle_at, AT_FDCWD, P(buffer), O_RDONLY)),
      ATTACK("name to handle",
             Call(SYS_name_to_handle_at, AT_FDCWD, P("."), P(buffer), P(buffer), 0)),
      ATTACK("unlink", Call(SYS_unlink, P("escaped"))),
      ATTACK("rename", Call(SYS_rename, P("escaped"), P("escaped2"))),
      ATTACK("symlink", Call(SYS_symlink, P("/etc/passwd"), P("escaped"))),
      ATTACK("mkdir", Call(SYS_mkdir, P("escaped"), 0700)),
      ATTACK("stat", Call(SYS_stat, P("/etc/passwd"), P(buffer))),
      ATTACK("readlink", Call(SYS_readlink, P("/proc/self/exe"), P(buffer), sizeof buffer)),
      ATTACK("getcwd", Call(SYS_getcwd, P(buffer), sizeof buffer)),
      ATTACK("mount", Call(SYS_mount, P("none"), P("/mnt"), P("tmpfs"), 0, 0)),
      ATTACK("umount", Call(SYS_umount2, P("/mnt"), 0)),
      ATTACK("chroot", Call(SYS_chroot, P("."))),
      ATTACK("chdir", Call(SYS_chdir, P("/"))),
      ATTACK("pivot_root", Call(SYS_pivot_root, P("."), P("."))),
      ATTACK("inotify", Call(SYS_inotify_init1, 0)),
      ATTACK("fanotify", Call(SYS_fanotify_init, 0, 0)),
  };
  return *kAttacks;
}

const std::vector<Attack>& Descriptors() {
  static const auto* const kAttacks = new std::vector<Attack>{
      ATTACK("write to the model", pwrite(hostage.model_fd, buffer, 1, 0)),
      ATTACK("read the plan", pread(hostage.plan_fd, buffer, 1, 0)),
      ATTACK("read stdin", read(0, buffer, 1)),
      ATTACK("pread elsewhere", pread(0, buffer, 1, 0)),
      ATTACK("pwrite elsewhere", pwrite(1, buffer, 1, 0)),
      ATTACK("write elsewhere", write(hostage.plan_fd, buffer, 1)),
      ATTACK("an inherited descriptor", write(9, buffer, 1)),
      // The kernel looks at the lower half of a descriptor's word.
      ATTACK("a descriptor of 64 bits", Call(SYS_pread64, (1L << 32) | 0, P(buffer), 1, 0)),
      ATTACK("truncate the plan", Call(SYS_ftruncate, hostage.plan_fd, 1L << 40)),
      ATTACK("fallocate the plan", Call(SYS_fallocate, hostage.plan_fd, 0, 0, 1L << 40)),
      ATTACK("seal the plan", Call(SYS_fcntl, hostage.plan_fd, F_ADD_SEALS, F_SEAL_WRITE)),
      ATTACK("dup", Call(SYS_dup, hostage.plan_fd)),
      ATTACK("dup2", Call(SYS_dup2, hostage.plan_fd, 1)),
      ATTACK("close", Call(SYS_close, 2)),
      ATTACK("close_range", Call(SYS_close_range, 3, 1000, 0)),
      ATTACK("lseek", Call(SYS_lseek, hostage.model_fd, 0, SEEK_SET)),
      ATTACK("ioctl TIOCSTI", Call(SYS_ioctl, 2, TIOCSTI, P(buffer))),
      ATTACK("sendfile", Call(SYS_sendfile, 1, hostage.model_fd, 0, 1)),
      ATTACK("splice", Call(SYS_splice, hostage.model_fd, 0, 1, 0, 1, 0)),
      ATTACK("tee", Call(SYS_tee, 1, 2, 1, 0)),
      ATTACK("vmsplice", Call(SYS_vmsplice, 1, P(buffer), 1, 0)),
      ATTACK("copy_file_range",
             Call(SYS_copy_file_range, hostage.model_fd, 0, hostage.plan_fd, 0, 1, 0)),
      ATTACK("memfd_create", Call(SYS_memfd_create, P("x"), 0)),
      ATTACK("memfd_secret", Call(SYS_memfd_secret, 0)),
      ATTACK("pipe", Call(SYS_pipe2, P(buffer), 0)),
      ATTACK("eventfd", Call(SYS_eventfd2, 0, 0)),
      ATTACK("epoll", Call(SYS_epoll_create1, 0)),
      ATTACK("signalfd", Call(SYS_signalfd4, -1, P(buffer), 8, 0)),
      ATTACK("userfaultfd", Call(SYS_userfaultfd, 0)),
      ATTACK("io_uring", Call(SYS_io_uring_setup, 1, P(buffer))),
      ATTACK("bpf", Call(SYS_bpf, 0, P(buffer), sizeof buffer)),
      ATTACK("perf_event_open", Call(SYS_perf_event_open, P(buffer), 0, -1, -1, 0)),
  };
  return *kAttacks;
}

const std::vector<Attack>& Network() {
  static const auto* const kAttacks = new std::vector<Attack>{
      ATTACK("socket unix", socket(AF_UNIX, SOCK_STREAM, 0)),
      ATTACK("socket inet", socket(AF_INET, SOCK_STREAM, 0)),
      ATTACK("socket inet6", socket(AF_INET6, SOCK_DGRAM, 0)),
      ATTACK("socket netlink", socket(AF_NETLINK, SOCK_RAW, 0)),
      ATTACK("socket packet", socket(AF_PACKET, SOCK_RAW, 0)),
      ATTACK("socket alg", socket(AF_ALG, SOCK_SEQPACKET, 0)),
      ATTACK("socket vsock", socket(AF_VSOCK, SOCK_STREAM, 0)),
      ATTACK("socketpair", Call(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, P(buffer))),
      ATTACK("connect", Call(SYS_connect, 0, P(buffer), 16)),
      ATTACK("bind", Call(SYS_bind, 0, P(buffer), 16)),
      ATTACK("sendto", Call(SYS_sendto, 1, P(buffer), 1, 0, 0, 0)),
      ATTACK("sendmsg", Call(SYS_sendmsg, 1, P(buffer), 0)),
      ATTACK("recvmsg", Call(SYS_recvmsg, 1, P(buffer), 0)),
      ATTACK("shmget", Call(SYS_shmget, 0, kPage, 01600)),
      ATTACK("shmat", Call(SYS_shmat, 0, 0, 0)),
      ATTACK("msgget", Call(SYS_msgget, 0, 01600)),
      ATTACK("semget", Call(SYS_semget, 0, 1, 01600)),
      ATTACK("mq_open", Call(SYS_mq_open, P("escaped"), O_CREAT | O_RDWR, 0600, 0)),
      ATTACK("keyctl", Call(SYS_keyctl, 0, -3, 0)),
      ATTACK("add_key", Call(SYS_add_key, P("user"), P("x"), P(buffer), 1, -3)),
      ATTACK("request_key", Call(SYS_request_key, P("user"), P("x"), 0, 0)),
  };
  return *kAttacks;
}

const std::vector<Attack>& Processes() {
  static const auto* const kAttacks = new std::vector<Attack>{
      ATTACK("fork", Call(SYS_fork)),
      ATTACK("vfork", Call(SYS_vfork)),
      ATTACK("clone", Call(SYS_clone, SIGCHLD, 0, 0, 0, 0)),
      ATTACK("clone3", Call(SYS_clone3, P(buffer), 64)),
      ATTACK("execve", Call(SYS_execve, P("/bin/true"), P(kArgv), 0)),
      ATTACK("execveat", Call(SYS_execveat, AT_FDCWD, P("/bin/true"), P(kArgv), 0, 0)),
      ATTACK("execveat of the model",
             Call(SYS_execveat, hostage.model_fd, P(""), P(kArgv), 0, AT_EMPTY_PATH)),
      ATTACK("kill the parent", Call(SYS_kill, hostage.parent, SIGURG)),
      ATTACK("kill everybody", Call(SYS_kill, -hostage.parent, 0)),
      ATTACK("tkill the parent", Call(SYS_tkill, hostage.parent, SIGURG)),
      ATTACK("tgkill the parent", Call(SYS_tgkill, hostage.parent, hostage.parent, SIGURG)),
      ATTACK("queue a signal", Call(SYS_rt_sigqueueinfo, hostage.parent, SIGURG, P(buffer))),
      ATTACK("pidfd of the parent", Call(SYS_pidfd_open, hostage.parent, 0)),
      ATTACK("signal a pidfd", Call(SYS_pidfd_send_signal, 0, SIGTERM, 0, 0)),
      ATTACK("descriptor of the parent", Call(SYS_pidfd_getfd, 0, 3, 0)),
      ATTACK("ptrace", Call(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0)),
      ATTACK("ptrace the parent", Call(SYS_ptrace, PTRACE_ATTACH, hostage.parent, 0, 0)),
      ATTACK("read the parent",
             Call(SYS_process_vm_readv, hostage.parent, P(buffer), 1, P(buffer), 1, 0)),
      ATTACK("write the parent",
             Call(SYS_process_vm_writev, hostage.parent, P(buffer), 1, P(buffer), 1, 0)),
      ATTACK("kcmp", Call(SYS_kcmp, hostage.parent, hostage.parent, 0, 0, 0)),
      ATTACK("advise the parent", Call(SYS_process_madvise, 0, P(buffer), 1, MADV_COLD, 0)),
      ATTACK("unshare", Call(SYS_unshare, CLONE_NEWUSER)),
      ATTACK("setns", Call(SYS_setns, 0, 0)),
      ATTACK("setuid", Call(SYS_setuid, 0)),
      ATTACK("setgroups", Call(SYS_setgroups, 0, 0)),
      ATTACK("setsid", Call(SYS_setsid)),
      ATTACK("setpgid", Call(SYS_setpgid, 0, 0)),
      ATTACK("capset", Call(SYS_capset, P(buffer), P(buffer))),
      ATTACK("prctl dumpable", Call(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)),
      ATTACK("prctl death signal", Call(SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0)),
      ATTACK("prctl seccomp", Call(SYS_prctl, PR_SET_SECCOMP, 0, 0, 0, 0)),
      ATTACK("seccomp", Call(SYS_seccomp, 1, 0, P(buffer))),
      ATTACK("setrlimit", Call(SYS_setrlimit, RLIMIT_CPU, P(buffer))),
      ATTACK("prlimit of the parent", Call(SYS_prlimit64, hostage.parent, RLIMIT_AS, P(buffer), 0)),
      ATTACK("setpriority", Call(SYS_setpriority, PRIO_PROCESS, 0, -20)),
      ATTACK("sched_setscheduler", Call(SYS_sched_setscheduler, 0, SCHED_FIFO, P(buffer))),
      ATTACK("sched_setaffinity", Call(SYS_sched_setaffinity, 0, 8, P(buffer))),
      ATTACK("sigaction", Call(SYS_rt_sigaction, SIGXCPU, 0, 0, 8)),
      ATTACK("alarm", Call(SYS_alarm, 0)),
      ATTACK("setitimer", Call(SYS_setitimer, 0, P(buffer), 0)),
      ATTACK("nanosleep", Call(SYS_nanosleep, P(buffer), 0)),
      ATTACK("pause", Call(SYS_pause)),
      ATTACK("getppid", Call(SYS_getppid)),
      ATTACK("wait", Call(SYS_wait4, -1, 0, 0, 0)),
  };
  return *kAttacks;
}

const std::vector<Attack>& MemoryAndMachine() {
  static const auto* const kAttacks = new std::vector<Attack>{
      ATTACK("map executable",
             Call(SYS_mmap, 0, kPage, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)),
      ATTACK("map the model executable",
             Call(SYS_mmap, 0, kPage, PROT_READ | PROT_EXEC, MAP_PRIVATE, hostage.model_fd, 0)),
      ATTACK("map the model", Call(SYS_mmap, 0, kPage, PROT_READ, MAP_SHARED, hostage.model_fd, 0)),
      ATTACK("map the plan",
             Call(SYS_mmap, 0, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, hostage.plan_fd, 0)),
      ATTACK("make executable", Call(SYS_mprotect, 0x10000, kPage, PROT_READ | PROT_EXEC)),
      ATTACK("make executable by key", Call(SYS_pkey_mprotect, 0x10000, kPage, PROT_EXEC, -1)),
      ATTACK("reads are executable", Call(SYS_personality, READ_IMPLIES_EXEC)),
      ATTACK("remap_file_pages", Call(SYS_remap_file_pages, 0x10000, kPage, 0, 0, 0)),
      // Of no bytes, so that it harms no page of the machine where it is let through.
      ATTACK("poison a page", Call(SYS_madvise, 0x10000, 0, 100 /* MADV_HWPOISON */)),
      ATTACK("take a page away", Call(SYS_madvise, 0x10000, 0, 101 /* MADV_SOFT_OFFLINE */)),
      ATTACK("advise otherwise", Call(SYS_madvise, 0x10000, 0, MADV_DODUMP)),
      ATTACK("lock all memory", Call(SYS_mlockall, 1)),
      ATTACK("move pages", Call(SYS_move_pages, hostage.parent, 0, 0, 0, 0, 0)),
      ATTACK("modify_ldt", Call(SYS_modify_ldt, 0, P(buffer), sizeof buffer)),
      ATTACK("arch_prctl", Call(SYS_arch_prctl, 0x1003, P(buffer))),
      ATTACK("iopl", Call(SYS_iopl, 3)),
      ATTACK("load a module", Call(SYS_init_module, P(buffer), 1, P(""))),
      ATTACK("load a module by file", Call(SYS_finit_module, 0, P(""), 0)),
      ATTACK("kexec", Call(SYS_kexec_load, 0, 0, 0, 1L << 40)),
      ATTACK("reboot", Call(SYS_reboot, 0, 0, 0, 0)),  // without the words that it asks for
      ATTACK("swapon", Call(SYS_swapon, P("escaped"), 0)),
      ATTACK("sethostname", Call(SYS_sethostname, P(buffer), 1L << 20)),
      ATTACK("settimeofday", Call(SYS_settimeofday, 0, 0)),
      ATTACK("syslog", Call(SYS_syslog, 10, 0, 0)),
      ATTACK("x32 getpid", Call(kX32 | SYS_getpid)),
      ATTACK("x32 open", Call(kX32 | SYS_open, P("/etc/passwd"), O_RDONLY)),
      ATTACK("i386 getpid", Int80(20)),
      ATTACK("i386 exit", Int80(1)),
      ATTACK("a call that is none", Call(100'000)),
  };
  return *kAttacks;
}
#undef ATTACK

void Burn() {
  for (;;) asm volatile("");
}

void BurnUnheard(const Hostage&) {
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  Burn();
}

// Until nothing is given any more.
void FillMemory(const Hostage&) {
  size_t bytes = 0;
  for (size_t chunk = size_t{1} << 30; chunk >= kPage;) {
    void* const got =
        mmap(nullptr, chunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) {
      chunk /= 2;
      continue;
    }
    bytes += chunk;
    if (bytes > size_t{8} << 30) return;  // of a limit below it
  }
  _exit(kHeld);
}

void FillPlan(const Hostage& hostage) {
  for (off_t at = 0; at < off_t{1} << 40; at += off_t{1} << 24) {
    if (pwrite(hostage.plan_fd, buffer, 1, at) < 0) _exit(errno == EFBIG ? kHeld : 1);
  }
}

void FarAway(const Hostage& hostage) {
  if (pwrite(hostage.plan_fd, buffer, 1, off_t{1} << 50) < 0) _exit(errno == EFBIG ? kHeld : 1);
}

}  // namespace

const std::vector<Attack>& Attacks() {
  static const auto* const kAll = [] {
    auto* all = new std::vector<Attack>;
    for (const auto* part :
         {&Files(), &Descriptors(), &Network(), &Processes(), &MemoryAndMachine()}) {
      all->insert(all->end(), part->begin(), part->end());
    }
    return all;
  }();
  return *kAll;
}

const std::vector<Excess>& Excesses() {
  static const auto* const kAll = new std::vector<Excess>{
      {"burn", [](const Hostage&) { Burn(); }, SIGXCPU, 0},
      {"burn with signals blocked", &BurnUnheard, SIGKILL, 0},
      {"fill memory", &FillMemory, 0, kHeld},
      {"fill the plan", &FillPlan, 0, kHeld},
      {"a plan of a petabyte", &FarAway, 0, kHeld},
  };
  return *kAll;
}

}  // namespace millrace
