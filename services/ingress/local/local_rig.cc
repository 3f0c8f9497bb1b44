#include "services/ingress/local/local_rig.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"

namespace millrace {
namespace {

constexpr int64_t kTurnNs = 5 * kNanosPerMilli;
constexpr int64_t kLimitNs = 30 * kNanosPerSecond;

sockaddr_un NameOf(const std::string& path) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  MR_CHECK(path.size() < sizeof name.sun_path, "a short path");
  memcpy(name.sun_path, path.data(), path.size());
  return name;
}

}  // namespace

LocalRig::LocalRig(LocalOptions options) {
  char folder[] = "/tmp/millrace-local-XXXXXX";
  MR_CHECK(mkdtemp(folder) != nullptr, "a folder for the socket");
  folder_ = folder;
  path_ = folder_ + "/local";
  const sockaddr_un name = NameOf(path_);
  listening_ = Fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto* generic = reinterpret_cast<const sockaddr*>(&name);
  MR_CHECK(bind(listening_.get(), generic, sizeof name) == 0 && listen(listening_.get(), 64) == 0,
           "a listening socket");
  Start(options);
}

LocalRig::LocalRig(LocalOptions options, const LocalRig& former)
    : path_(former.path_), listening_(former.listening_.Duplicate()) {
  Start(options);
}

void LocalRig::Start(const LocalOptions& options) {
  wake_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  server_ = Must(LocalServer::Create(&frontend_, options, listening_.get(), wake_.get()));
  thread_ = std::thread([this] { Run(); });
}

LocalRig::~LocalRig() {
  // relaxed: only asks for the end.
  stop_.store(true, std::memory_order_relaxed);
  thread_.join();
  server_.reset();
  if (folder_.empty()) return;
  unlink(path_.c_str());
  rmdir(folder_.c_str());
}

void LocalRig::EndServer() {
  std::lock_guard<std::mutex> lock(mutex_);
  server_.reset();
}

void LocalRig::Run() {
  // relaxed: the destructor only asks for the end.
  while (!stop_.load(std::memory_order_relaxed)) {
    size_t done = 0;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      done = frontend_.Poll();
      if (server_ != nullptr) done += server_->Poll();
      if (server_ != nullptr && done == 0) server_->Block(0);
    }
    if (done == 0) poll(nullptr, 0, 1);  // gives Do its turn
  }
}

void LocalRig::Do(const std::function<void(FakeFrontend&, LocalServer&)>& action) {
  std::lock_guard<std::mutex> lock(mutex_);
  action(frontend_, *server_);
}

void LocalRig::WaitUntil(const std::function<bool(FakeFrontend&, LocalServer&)>& holds) {
  const int64_t end_ns = MonotonicNanos() + kLimitNs;
  for (bool held = false; !held; poll(nullptr, 0, 1)) {
    MR_CHECK(MonotonicNanos() < end_ns, "what the test waits for does not come");
    Do([&](FakeFrontend& frontend, LocalServer& server) { held = holds(frontend, server); });
  }
}

RawClient::RawClient(const std::string& path) {
  const sockaddr_un name = NameOf(path);
  socket = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  MR_CHECK(connect(socket.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0,
           "a connection");
}

std::string RawClient::Next() {
  const int64_t end_ns = MonotonicNanos() + kLimitNs;
  while (true) {
    std::string_view bytes;
    const Received received = ReceivePacket(socket.get(), &buffer, &bytes, &fds);
    if (received == Received::kEnd) return "";
    if (received == Received::kPacket) {
      if (PacketReader(bytes).type() == PacketType::kWake) continue;
      return std::string(bytes);
    }
    MR_CHECK(MonotonicNanos() < end_ns, "no packet comes");
    pollfd wait = {socket.get(), POLLIN, 0};
    poll(&wait, 1, 1000);
  }
}

void RawClient::Hello(uint32_t magic, uint32_t version, uint64_t layout) {
  PacketWriter hello(PacketType::kHello, 0);
  hello.U32(magic);
  hello.U32(version);
  hello.U64(layout);
  hello.U64(64 << 10);
  SendPacket(socket.get(), hello.bytes());
}

void RawClient::MakeRegions() {
  Hello();
  const std::string bytes = Next();
  PacketReader welcome(bytes);
  MR_CHECK(welcome.type() == PacketType::kWelcome && fds.size() == kLocalRegions, "a welcome");
  welcome.U32();
  slot_count = welcome.U32();
  slots = Must(Region::Create(kSlotsType, kClientEnd, SlotsRegionBytes(slot_count)));
  slots.as<SlotsRegion>()->consumer = kServerEnd;
  slots.as<SlotsRegion>()->slot_count = slot_count;
  answers = std::make_unique<LinkConsumer>(
      Must(LinkConsumer::Create(kServerEnd, kClientEnd, slot_count)));
  MR_CHECK(answers->Attach(fds[0].get()).ok(), "the server's half");
  their_arena = Must(ArenaView::Open(fds[2].get(), kServerEnd));
  arena = Must(Region::Create(kArenaType, kClientEnd, 1 << 16));
  words = Must(Region::Create(kLocalWordsType, kClientEnd, sizeof(LocalWords)));
}

std::vector<int> RawClient::Regions() const {
  return {slots.fd().get(), answers->fd(), arena.fd().get(), words.fd().get()};
}

void RawClient::HandOver(const std::vector<int>& given) {
  SendPacket(socket.get(), PacketWriter(PacketType::kRegions, 0).bytes(), given);
}

void RawClient::Connect() {
  MakeRegions();
  HandOver(Regions());
  MR_CHECK(PacketReader(Next()).type() == PacketType::kReady, "ready");
  PacketWriter open(PacketType::kOpen, 7);
  open.Text("plain");
  open.Text("");
  SendPacket(socket.get(), open.bytes());
  MR_CHECK(PacketReader(Next()).type() == PacketType::kOpened, "opened");
}

void RawClient::Publish(const Message& message) {
  LinkSlot<Hardware>& slot = slots.as<SlotsRegion>()->slots[next % slot_count];
  Hardware::Write(&slot.body, message);
  // release: meets the acquire in ConsumerEnd::Take.
  slot.seq.store(static_cast<uint32_t>(++next), std::memory_order_release);
  SendWake(socket.get());
}

Message RawClient::Request(uint64_t id) {
  PackWriter pack(1);
  pack.Add(0, DataType::kFp32, 3, 3 * sizeof(float));
  pack.Place(At(kLineBytes));
  memset(pack.Data(0), 0, pack.data_bytes(0));
  Message message;
  message.id = id;
  message.block = {kLineBytes, static_cast<uint32_t>(pack.bytes())};
  return message;
}

bool RawClient::TakeAnswer(Message* message) {
  const bool taken = answers->Take(message) == LinkResult::kOk;
  if (taken) answers->PublishCredits();
  return taken;
}

}  // namespace millrace
