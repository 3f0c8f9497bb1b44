// The I/O that stands below the fleet: loop, spawn, watcher, incarnations, keeper link, admin
// socket.
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "common/clock.h"
#include "gtest/gtest.h"
#include "ipc/control.pb.h"
#include "services/supervisor/admin_server.h"
#include "services/supervisor/event_loop.h"
#include "services/supervisor/exit_codes.h"
#include "services/supervisor/incarnations.h"
#include "services/supervisor/keeper_link.h"
#include "services/supervisor/process_table.h"
#include "services/supervisor/spawn.h"
#include "services/supervisor/watcher.h"

namespace millrace {
namespace {

TEST(EventLoop, ARemovedCallbackIsNotCalledForAnEventAlreadyFetched) {
  EventLoop loop = std::move(*EventLoop::Create());
  const Fd a(eventfd(1, 0)), b(eventfd(1, 0));
  int calls = 0;
  ASSERT_TRUE(loop.Add(a.get(), EPOLLIN, [&](uint32_t) { ++calls, loop.Remove(b.get()); }).ok());
  ASSERT_TRUE(loop.Add(b.get(), EPOLLIN, [&](uint32_t) { ++calls, loop.Remove(a.get()); }).ok());
  loop.RunOnce();
  EXPECT_EQ(calls, 1);
}

TEST(EventLoop, ANewCallbackIsNotCalledForAnOldEventOfTheSameNumber) {
  EventLoop loop = std::move(*EventLoop::Create());
  const Fd a(eventfd(1, 0)), b(eventfd(1, 0));
  int fresh = 0;
  const auto replace = [&](int self, int other) {
    loop.Remove(self);
    loop.Remove(other);
    ASSERT_TRUE(loop.Add(other, EPOLLIN, [&](uint32_t) { ++fresh; }).ok());
  };
  ASSERT_TRUE(loop.Add(a.get(), EPOLLIN, [&](uint32_t) { replace(a.get(), b.get()); }).ok());
  ASSERT_TRUE(loop.Add(b.get(), EPOLLIN, [&](uint32_t) { replace(b.get(), a.get()); }).ok());
  loop.RunOnce();
  EXPECT_EQ(fresh, 0);
  loop.RunOnce();
  EXPECT_EQ(fresh, 1);
}

int WaitFor(const Child& child) {
  siginfo_t info = {};
  waitid(static_cast<idtype_t>(P_PIDFD), child.pidfd.get(), &info, WEXITED);
  return info.si_status;
}

TEST(Spawn, TheChildHasItsSocketAndNothingElse) {
  auto pair = std::move(*ControlChannel::MakePair());
  const Fd leak(open("/dev/null", O_RDONLY));  // not closed on exec
  ASSERT_TRUE(leak.valid());
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigprocmask(SIG_BLOCK, &blocked, &before);
  // Lists its descriptors (5 is the listing itself), then whether a signal is blocked.
  const char* script =
      "cd /proc/self/fd && echo * >&3 && grep -q 'SigBlk:.0000000000000000' /proc/self/status";
  const auto child = SpawnChild({"/bin/bash", "-c", script}, std::move(pair.second), {});
  sigprocmask(SIG_SETMASK, &before, nullptr);
  ASSERT_TRUE(child.ok());
  EXPECT_EQ(WaitFor(*child), 0);
  char text[64] = {};
  ASSERT_GT(recv(pair.first.get(), text, sizeof text - 1, 0), 0);
  for (const char* number = strtok(text, " \n"); number != nullptr;
       number = strtok(nullptr, " \n")) {
    EXPECT_TRUE(atoi(number) <= 3 || atoi(number) == 255 || atoi(number) == 4) << number;
  }
}

TEST(Spawn, AChildWhoseHeapIsSampledGetsAnotherAllocatorAndTheOthersDoNot) {
  const auto preloaded = [](bool samples_heap) -> std::string {
    auto pair = std::move(*ControlChannel::MakePair());
    ChildPlacement place;
    place.samples_heap = samples_heap;
    const char* script = "echo $LD_PRELOAD $TCMALLOC_SAMPLE_PARAMETER >&3";
    const auto child = SpawnChild({"/bin/bash", "-c", script}, std::move(pair.second), {}, place);
    EXPECT_TRUE(child.ok());
    EXPECT_EQ(WaitFor(*child), 0);
    char text[256] = {};
    EXPECT_GT(recv(pair.first.get(), text, sizeof text - 1, 0), 0);
    return text;
  };
  EXPECT_EQ(preloaded(false), "\n");
  EXPECT_EQ(preloaded(true), "libtcmalloc.so.4 65536\n");
  setenv("LD_PRELOAD", "libm.so.6", 1);
  EXPECT_EQ(preloaded(false), "libm.so.6\n");
  EXPECT_EQ(preloaded(true), "libtcmalloc.so.4:libm.so.6 65536\n");
  unsetenv("LD_PRELOAD");
}

TEST(Spawn, AProgramThatIsNotThereEndsWithItsOwnCode) {
  auto pair = std::move(*ControlChannel::MakePair());
  const auto child = SpawnChild({"/no/such/program"}, std::move(pair.second), {});
  ASSERT_TRUE(child.ok());
  EXPECT_EQ(WaitFor(*child), kExitBinary);
}

// What a child that is given these CPUs may use.
CpuList CpusOfChild(const CpuList& cpus) {
  auto pair = std::move(*ControlChannel::MakePair());
  const auto child = SpawnChild({"/bin/bash", "-c", "read line <&3"}, std::move(pair.second), cpus);
  EXPECT_TRUE(child.ok());
  // It closes its socket's copy only by ending; the exec, or the _exit, comes behind the affinity.
  char program[4096];
  const std::string link = "/proc/" + std::to_string(child->pid) + "/exe";
  ssize_t length = 0;
  do {
    length = readlink(link.c_str(), program, sizeof program);
  } while (length > 0 && std::string(program, length).find("bash") == std::string::npos);
  const CpuList used = AllowedCpus(child->pid);
  kill(child->pid, SIGKILL);
  WaitFor(*child);
  return used;
}

TEST(Spawn, TheChildRunsOnItsCpus) {
  const CpuList ours = AllowedCpus(0);
  EXPECT_EQ(CpusOfChild({ours.back()}), CpuList{ours.back()});
  EXPECT_EQ(CpusOfChild({}), ours);
  EXPECT_EQ(CpusOfChild({kMaxCpus - 1}), ours) << "a CPU that went away since the start";
}

TEST(Watcher, SaysDeadOfAnOwnerThatDiedAndOfOneThatSaysIt) {
  const uint32_t ready = static_cast<uint32_t>(LaneState::kAlive);
  EXPECT_FALSE(SaysDead(77 | FUTEX_WAITERS, ready));
  EXPECT_TRUE(SaysDead(FUTEX_OWNER_DIED | FUTEX_WAITERS, ready));
  EXPECT_TRUE(SaysDead(0, ready)) << "nobody holds it";
  EXPECT_TRUE(SaysDead(77 | FUTEX_WAITERS, static_cast<uint32_t>(LaneState::kDying)));
}

bool Posted(const DeathBoard& board, int limit_ms) {
  pollfd wait = {board.fd(), POLLIN, 0};
  return poll(&wait, 1, limit_ms) == 1;
}

TEST(Watcher, PostsOnceWhenTheHolderOfTheWordDies) {
  const Region region = std::move(*Region::Create(kPageType, 7, sizeof(Page)));
  Page* page = region.as<Page>();
  auto board = std::move(*DeathBoard::Create());
  int held[2];
  ASSERT_EQ(pipe(held), 0);
  // The mapping is not inherited by fork, so the holder is a thread: its end is a death too.
  std::thread holder([&] {
    static robust_list node;
    static robust_list_head head;
    node.next = &head.list;
    head.list.next = &node;
    head.futex_offset = reinterpret_cast<char*>(&page->liveness) - reinterpret_cast<char*>(&node);
    page->liveness.store(static_cast<uint32_t>(gettid()) | FUTEX_WAITERS);
    syscall(SYS_set_robust_list, &head, sizeof head);
    char c;
    EXPECT_EQ(read(held[0], &c, 1), 1);
  });
  while (page->liveness.load() == 0) usleep(100);
  const Region seen = std::move(
      *Region::Open(region.fd().get(), kPageType, 7, sizeof(Page)));  // read-only, as a peer has it
  Watcher watcher(board.get(), 7, seen.as<const Page>());
  EXPECT_FALSE(Posted(*board, 150));
  const int64_t before = MonotonicNanos();
  ASSERT_EQ(write(held[1], "x", 1), 1);
  EXPECT_TRUE(Posted(*board, 5000));
  const std::vector<DeathSeen> deaths = board->Take();
  ASSERT_EQ(deaths.size(), 1u);
  EXPECT_EQ(deaths[0].key, 7u);
  EXPECT_GE(deaths[0].at_ns, before);
  EXPECT_FALSE(Posted(*board, 150));
  holder.join();
}

TEST(Watcher, EndsPromptlyThoughNobodyDied) {
  const Region region = std::move(*Region::Create(kPageType, 7, sizeof(Page)));
  region.as<Page>()->liveness.store(12345 | FUTEX_WAITERS);
  auto board = std::move(*DeathBoard::Create());
  const int64_t begin = MonotonicNanos();
  { Watcher watcher(board.get(), 7, region.as<const Page>()); }
  EXPECT_LT(MonotonicNanos() - begin, kNanosPerSecond);
  EXPECT_FALSE(Posted(*board, 0));
}

// It was kept already, and no number was given out.
TEST(Incarnations, GoOnAfterOneThatGaveOutNone) {
  const Incarnations first = std::move(*Incarnations::Open(Fd()));
  absl::StatusOr<Incarnations> second = Incarnations::Open(Fd(dup(first.fd())));
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->Next(), 1u);
}

TEST(Incarnations, GoOnAfterASupervisorIsReplaced) {
  Incarnations first = std::move(*Incarnations::Open(Fd()));
  EXPECT_EQ(first.Next(), 1u);
  EXPECT_EQ(first.Next(), 2u);
  Incarnations second = std::move(*Incarnations::Open(Fd(dup(first.fd()))));
  EXPECT_EQ(second.Next(), 3u);
  Fd empty(eventfd(0, EFD_NONBLOCK));
  EXPECT_FALSE(Incarnations::Open(std::move(empty)).ok());
}

TEST(KeeperLink, TakesWhatIsHandedOver) {
  auto pair = std::move(*ControlChannel::MakePair());
  ControlChannel keeper(std::move(pair.first));
  Handover handover;
  handover.add_listeners("grpc");
  handover.add_kept("incarnations");
  handover.set_restarts(4);
  const Fd a(eventfd(11, 0)), b(eventfd(22, 0));
  ASSERT_TRUE(keeper.Send(handover, {a.get(), b.get()}).ok());
  KeeperLink link = std::move(*KeeperLink::Connect(std::move(pair.second)));
  ASSERT_EQ(link.listeners().size(), 1u);
  EXPECT_EQ(link.restarts(), 4u);
  eventfd_t value = 0;
  ASSERT_EQ(eventfd_read(link.TakeKept("incarnations").get(), &value), 0);
  EXPECT_EQ(value, 22u);
  EXPECT_FALSE(link.TakeKept("incarnations").valid()) << "taken once";
}

TEST(KeeperLink, RefusesAHandoverThatLacksDescriptors) {
  auto pair = std::move(*ControlChannel::MakePair());
  ControlChannel keeper(std::move(pair.first));
  Handover handover;
  handover.add_listeners("grpc");
  ASSERT_TRUE(keeper.Send(handover).ok());
  EXPECT_FALSE(KeeperLink::Connect(std::move(pair.second)).ok());
  EXPECT_FALSE(KeeperLink::Connect(Fd(open("/dev/null", O_RDONLY))).ok());
}

class AdminTest : public testing::Test {
 protected:
  void SetUp() override {
    // Not the test's own folder: its path may be longer than a socket's name can be.
    path_ = "/tmp/millrace-admin-" + std::to_string(getpid());
    server_ = std::move(*AdminServer::Listen(
        &loop_, path_, [this](const std::string& line, int64_t) -> std::optional<std::string> {
          if (line == "wait" && !ready_) return std::nullopt;
          return line == "big" ? std::string(200'000, 'x') : "got " + line;
        }));
  }

  Fd Connect() {
    Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path_.c_str());
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    loop_.RunOnce();
    return fd;
  }

  std::string Ask(const Fd& fd, const std::string& text) {
    EXPECT_EQ(send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), ssize_t(text.size()));
    loop_.RunOnce();
    return Heard(fd);
  }

  std::string Heard(const Fd& fd) {
    std::string text(1 << 20, 0);
    const ssize_t n = recv(fd.get(), text.data(), text.size(), 0);
    text.resize(n > 0 ? n : 0);
    return n == 0 ? "<end>" : text;
  }

  EventLoop loop_ = std::move(*EventLoop::Create());
  std::string path_;
  bool ready_ = false;
  std::unique_ptr<AdminServer> server_;
};

TEST_F(AdminTest, ALineInALineOut) {
  struct stat info;
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  const Fd client = Connect();
  EXPECT_EQ(Ask(client, "one"), "") << "not a line yet";
  EXPECT_EQ(Ask(client, "\ntwo\nthr"), "got one\ngot two\n");
  EXPECT_EQ(Ask(client, "ee\n"), "got three\n");
}

TEST_F(AdminTest, ALineThatWaitsIsAnsweredLaterAndHoldsUpNobody) {
  const Fd waiting = Connect(), other = Connect();
  EXPECT_EQ(Ask(waiting, "wait\nnext\n"), "");
  EXPECT_EQ(Ask(other, "now\n"), "got now\n");
  server_->Retry();
  EXPECT_EQ(Heard(waiting), "");
  ready_ = true;
  server_->Retry();
  EXPECT_EQ(Heard(waiting), "got wait\ngot next\n");
}

TEST_F(AdminTest, AClientThatOnlySendsIsDropped) {
  const Fd client = Connect();
  std::string heard;
  const std::string flood(4096, 'x');
  for (int i = 0; i < 20 && heard != "<end>"; ++i) {
    if (send(client.get(), flood.data(), flood.size(), MSG_NOSIGNAL) < 0) break;
    loop_.RunOnce();
    heard = Heard(client);
  }
  EXPECT_TRUE(heard == "<end>" || heard.empty());
  EXPECT_LT(send(client.get(), "x", 1, MSG_NOSIGNAL), 0);
}

TEST_F(AdminTest, OneThatHasSaidAllStillHears) {
  const Fd client = Connect();
  ASSERT_EQ(send(client.get(), "big\n", 4, MSG_NOSIGNAL), 4);
  loop_.RunOnce();
  shutdown(client.get(), SHUT_WR);
  std::string all;
  for (int i = 0; i < 100 && all.size() < 200'001; ++i) {
    loop_.RunOnce();
    all += Heard(client);
  }
  EXPECT_GE(all.size(), 200'001u);
}

TEST_F(AdminTest, ManyClientsPushOutTheOldest) {
  std::vector<Fd> clients;
  for (int i = 0; i < 33; ++i) clients.push_back(Connect());
  EXPECT_EQ(Heard(clients[0]), "<end>");
  EXPECT_EQ(Ask(clients[32], "x\n"), "got x\n");
}

TEST_F(AdminTest, ASecondServerIsRefusedAndALeftoverIsNot) {
  const auto refuse = [](const std::string&, int64_t) -> std::optional<std::string> { return ""; };
  EXPECT_FALSE(AdminServer::Listen(&loop_, path_, refuse).ok());
  server_.reset();
  EXPECT_NE(access(path_.c_str(), F_OK), 0);
  Fd dead(socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, path_.c_str());
  ASSERT_EQ(bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  dead.reset();
  EXPECT_TRUE(AdminServer::Listen(&loop_, path_, refuse).ok());
}

}  // namespace
}  // namespace millrace
