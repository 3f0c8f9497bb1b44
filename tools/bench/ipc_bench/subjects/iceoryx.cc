#include "tools/bench/ipc_bench/subjects/iceoryx.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>

#include "iceoryx_hoofs/log/logmanager.hpp"
#include "iceoryx_posh/popo/untyped_publisher.hpp"
#include "iceoryx_posh/popo/untyped_subscriber.hpp"
#include "iceoryx_posh/runtime/posh_runtime.hpp"
#include "tools/bench/ipc_bench/touch.h"

namespace millrace::bench {
namespace {

constexpr int kReadyMs = 10'000, kEndMs = 5'000, kConnectMs = 5'000;
constexpr uint64_t kQueue = 16;  // messages; more were no faster

// Pools of chunks that fit the bench's sizes and iceoryx's header.
constexpr char kConfig[] = R"([general]
version = 1
[[segment]]
[[segment.mempool]]
size = 256
count = 600
[[segment.mempool]]
size = 1152
count = 600
[[segment.mempool]]
size = 16512
count = 300
[[segment.mempool]]
size = 262272
count = 100
)";

Fd MakeFile(const char* name, std::string_view text) {
  Fd fd(memfd_create(name, 0));
  if (!fd.valid() || write(fd.get(), text.data(), text.size()) < 0) Die("no memory for a file");
  return fd;
}

std::string Contents(int fd) {
  std::string text(1 << 16, '\0');
  const ssize_t n = pread(fd, text.data(), text.size(), 0);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return text;
}

constexpr char kNames[] = "millrace_bench_";  // then the driver's pid

// Sockets and locks of the processes of a bench that was killed itself, and could not see to them.
void RemoveLeftovers() {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/tmp", ignored)) {
    const std::string name = entry.path().filename();
    if (name.rfind(kNames, 0) != 0) continue;
    const int pid = atoi(name.c_str() + strlen(kNames));
    if (pid > 0 && kill(pid, 0) != 0 && errno == ESRCH) unlink(entry.path().c_str());
  }
}

std::string RuntimeName(const std::string& run, Side side) {
  return kNames + run + (side == Side::kA ? "_a" : "_b");
}

}  // namespace

std::string RouDi::Start() {
  RemoveLeftovers();
  config_ = MakeFile("roudi.toml", kConfig);
  log_ = MakeFile("roudi.log", "");
  process_ =
      Child::Spawn({"iox-roudi", "-k", "1", "-c",
                    "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(config_.get())},
                   log_.get());
  for (int waited_ms = 0; waited_ms < kReadyMs; waited_ms += 20) {
    if (Contents(log_.get()).find("RouDi is ready for clients") != std::string::npos) {
      serves_ = true;
      return "";
    }
    if (process_.Wait(20)) break;
  }
  return "RouDi does not serve:\n" + Contents(log_.get());
}

RouDi::~RouDi() {
  process_.End(kEndMs);
  RemoveLeftovers();
  if (!serves_ || process_.exit_code() == 0) return;
  // It was the only one, and fails where its clients were killed: its names are left to us.
  shm_unlink("/iceoryx_mgmt");
  if (const group* own = getgrgid(getegid())) shm_unlink((std::string("/") + own->gr_name).c_str());
  for (const char* name : {"roudi", "roudi.lock", "iox-unique-roudi.lock"}) {
    unlink((std::string("/tmp/") + name).c_str());
  }
}

Iceoryx::Shared::Shared(size_t) {
  static uint64_t runs = 0;
  run = std::to_string(getpid()) + "_" + std::to_string(++runs);
}

Iceoryx::Shared::~Shared() {
  // What a process leaves that was killed; one that ended well left nothing.
  for (const Side side : {Side::kA, Side::kB}) {
    const std::string socket = "/tmp/" + RuntimeName(run, side);
    unlink(socket.c_str());
    unlink((socket + ".lock").c_str());
  }
}

struct Iceoryx::End::Ports {
  Ports(const iox::capro::ServiceDescription& out_name,
        const iox::capro::ServiceDescription& in_name)
      : out(out_name, OutOptions()), in(in_name, InOptions()) {}

  static iox::popo::PublisherOptions OutOptions() {
    iox::popo::PublisherOptions options;
    options.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
    return options;
  }
  static iox::popo::SubscriberOptions InOptions() {
    iox::popo::SubscriberOptions options;
    options.queueCapacity = kQueue;
    options.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
    return options;
  }

  iox::popo::UntypedPublisher out;
  iox::popo::UntypedSubscriber in;
};

Iceoryx::End::End(Shared& shared, Side side, size_t bytes) : bytes_(bytes) {
  iox::log::LogManager::GetLogManager().SetDefaultLogLevel(iox::log::LogLevel::kError,
                                                           iox::log::LogLevelOutput::kHideLogLevel);
  const std::string name = RuntimeName(shared.run, side);
  iox::runtime::PoshRuntime::initRuntime(
      iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name.c_str()));
  const iox::capro::IdString_t run_id(iox::cxx::TruncateToCapacity, shared.run.c_str());
  const iox::capro::ServiceDescription ping("millrace_bench", run_id, "ping");
  const iox::capro::ServiceDescription pong("millrace_bench", run_id, "pong");
  ports_ =
      side == Side::kA ? std::make_unique<Ports>(ping, pong) : std::make_unique<Ports>(pong, ping);
  for (int waited_ms = 0; !ports_->out.hasSubscribers() ||
                          ports_->in.getSubscriptionState() != iox::SubscribeState::SUBSCRIBED;
       ++waited_ms) {
    if (waited_ms >= kConnectMs) {
      fprintf(stderr, "iceoryx: the two processes do not find each other\n");
      _exit(1);
    }
    usleep(1'000);
  }
}

Iceoryx::End::~End() = default;

void Iceoryx::End::Send(uint64_t stamp) {
  auto loan = ports_->out.loan(static_cast<uint32_t>(bytes_), 64);
  while (loan.has_error()) {  // all chunks are out
    Pause();
    loan = ports_->out.loan(static_cast<uint32_t>(bytes_), 64);
  }
  FillBytes(loan.value(), bytes_, stamp);
  ports_->out.publish(loan.value());
}

bool Iceoryx::End::Receive(uint64_t stamp) {
  while (true) {
    auto taken = ports_->in.take();
    if (taken.has_error()) {
      Pause();
      continue;
    }
    const bool right = CheckBytes(taken.value(), bytes_, stamp);
    ports_->in.release(taken.value());
    return right;
  }
}

}  // namespace millrace::bench
