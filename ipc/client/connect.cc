// The client's socket: the handshake, the opening of models, sleeping, the server's end.
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "ipc/client/client.h"

namespace millrace {
namespace {

constexpr int64_t kDefaultTimeoutNs = 10 * kNanosPerSecond;
constexpr uint64_t kDefaultBytes = 64 << 10;
constexpr uint64_t kMinWindowBytes = 1 << 20;
constexpr uint32_t kMaxCode = 16;

int MillisUntil(int64_t until_ns) {
  if (until_ns < 0) return -1;
  const int64_t left_ns = until_ns - MonotonicNanos();
  return left_ns <= 0 ? 0
                      : static_cast<int>(std::min<int64_t>(left_ns / kNanosPerMilli + 1, 60'000));
}

absl::Status Refusal(PacketReader* packet) {
  const uint32_t code = packet->U32();
  const std::string sentence(packet->Text());
  const bool known = packet->ok() && code > 0 && code <= kMaxCode;
  return absl::Status(known ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown,
                      sentence);
}

absl::StatusOr<Fd> Dial(const std::string& address) {
  constexpr char kUnix[] = "unix:";
  const std::string path = address.rfind(kUnix, 0) == 0 ? address.substr(strlen(kUnix)) : address;
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof name.sun_path) {
    return absl::InvalidArgumentError("path: must have from 1 to 107 bytes");
  }
  memcpy(name.sun_path, path.data(), path.size());
  Fd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return absl::ResourceExhaustedError(absl::StrCat("socket: ", strerror(errno)));
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot connect to ", path, ": ", strerror(errno)));
  }
  return fd;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalClient>> LocalClient::Connect(const std::string& path,
                                                                  const mr_options& options) {
  absl::StatusOr<Fd> socket = Dial(path);
  if (!socket.ok()) return socket.status();
  std::unique_ptr<LocalClient> client(new LocalClient);
  client->socket_ = std::move(*socket);
  client->timeout_ns_ = options.timeout_ns > 0 ? options.timeout_ns : kDefaultTimeoutNs;
  if (options.wait_mode == MR_WAIT_SPIN) client->mode_ = WaitMode::kSpin;
  if (options.wait_mode == MR_WAIT_PARK) client->mode_ = WaitMode::kPark;
  if (absl::Status s = client->Handshake(options); !s.ok()) return s;
  return client;
}

absl::Status LocalClient::Handshake(const mr_options& options) {
  const int64_t until_ns = MonotonicNanos() + timeout_ns_;
  PacketWriter hello(PacketType::kHello, 0);
  hello.U32(kLocalMagic);
  hello.U32(kLocalVersion);
  hello.U64(kLocalLayout);
  hello.U64(options.max_answer_bytes > 0 ? options.max_answer_bytes : kDefaultBytes);
  if (!SendPacket(socket_.get(), hello.bytes())) return absl::UnavailableError("no Hello possible");
  std::vector<Fd> fds;
  std::string_view bytes;
  while (true) {  // as NextPacket, which drops descriptors
    const Received received = ReceivePacket(socket_.get(), &buffer_, &bytes, &fds);
    if (received == Received::kEnd) return absl::UnavailableError("the server hung up");
    if (received == Received::kPacket) break;
    pollfd wait = {socket_.get(), POLLIN, 0};
    const int left_ms = MillisUntil(until_ns);
    if (left_ms == 0) return absl::DeadlineExceededError("the server does not greet");
    poll(&wait, 1, left_ms);
  }
  PacketReader welcome(bytes);
  if (welcome.type() == PacketType::kRefused) return Refusal(&welcome);
  if (absl::Status s = TakeWelcome(&welcome, fds, options); !s.ok()) return s;
  PacketWriter regions(PacketType::kRegions, 0);
  const std::vector<int> ours = {out_->fd(), in_->fd(), arena_->region().fd().get(),
                                 words_.fd().get()};
  if (!SendPacket(socket_.get(), regions.bytes(), ours)) {
    return absl::UnavailableError("the regions cannot be handed over");
  }
  absl::StatusOr<std::string_view> answer = NextPacket(until_ns);
  if (!answer.ok()) return answer.status();
  PacketReader ready(*answer);
  if (ready.type() == PacketType::kRefused) return Refusal(&ready);
  if (ready.type() != PacketType::kReady) return absl::UnavailableError("an unknown answer");
  return absl::OkStatus();
}

absl::Status LocalClient::TakeWelcome(PacketReader* welcome, const std::vector<Fd>& fds,
                                      const mr_options& options) {
  const uint32_t version = welcome->U32(), slots = welcome->U32(), places = welcome->U32();
  const uint64_t request_bytes = welcome->U64(), region_bytes = welcome->U64();
  const bool right = welcome->type() == PacketType::kWelcome && welcome->ok() &&
                     version == kLocalVersion && fds.size() == kLocalRegions && places > 0 &&
                     2 * uint64_t{places} <= slots && places < UINT16_MAX;
  if (!right) return absl::UnavailableError("a greeting that is not understood");
  requests_ = std::vector<mr_request>(places);
  for (size_t place = places; place-- > 0;) {
    requests_[place].place = static_cast<uint16_t>(place);
    requests_[place].results.reserve(kMaxLocalOutputs);
    free_.push_back(static_cast<uint16_t>(place));
  }
  ended_.reserve(2 * places);
  returned_.reserve(slots);
  if (absl::Status s = MakeEnds(slots, request_bytes, region_bytes, options); !s.ok()) return s;
  if (absl::Status s = in_->Attach(fds[0].get()); !s.ok()) return s;
  if (absl::Status s = out_->Attach(fds[1].get()); !s.ok()) return s;
  absl::StatusOr<ArenaView> arena = ArenaView::Open(fds[2].get(), kServerEnd);
  if (!arena.ok()) return arena.status();
  their_arena_ = std::move(*arena);
  absl::StatusOr<Region> words =
      Region::Open(fds[3].get(), kLocalWordsType, kServerEnd, sizeof(LocalWords));
  if (!words.ok()) return words.status();
  their_words_ = std::move(*words);
  gate_ = WakeGate<Hardware>(&their_words_.as<const LocalWords>()->parked);
  return absl::OkStatus();
}

absl::Status LocalClient::MakeEnds(uint64_t slots, uint64_t request_bytes, uint64_t region_bytes,
                                   const mr_options& options) {
  const uint64_t wanted = options.max_request_bytes > 0 ? options.max_request_bytes : kDefaultBytes;
  if (wanted > request_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_request_bytes: the server takes at most ", request_bytes));
  }
  const size_t block = PackWriter::BytesBound(kMaxPackTensors, wanted);
  const size_t window = std::max<size_t>(kMinWindowBytes, 2 * block);
  ArenaShape shape = ArenaShape::For(1, requests_.size(), window, block);
  if (shape.TotalBytes() > region_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the client's region would have ", shape.TotalBytes(),
                     " bytes, and the server takes at most ", region_bytes));
  }
  absl::StatusOr<LinkProducer> out = LinkProducer::Create(kClientEnd, kServerEnd, slots);
  if (!out.ok()) return out.status();
  absl::StatusOr<LinkConsumer> in = LinkConsumer::Create(kServerEnd, kClientEnd, slots);
  if (!in.ok()) return in.status();
  absl::StatusOr<Arena> arena = Arena::Create(kClientEnd, std::move(shape));
  if (!arena.ok()) return arena.status();
  absl::StatusOr<Region> words = Region::Create(kLocalWordsType, kClientEnd, sizeof(LocalWords));
  if (!words.ok()) return words.status();
  out_.emplace(std::move(*out));
  in_.emplace(std::move(*in));
  arena_.emplace(std::move(*arena));
  words_ = std::move(*words);
  park_ = ParkWord<Hardware>(&words_.as<LocalWords>()->parked);
  return absl::OkStatus();
}

absl::StatusOr<std::string_view> LocalClient::NextPacket(int64_t until_ns) {
  std::vector<Fd> fds;
  while (true) {
    std::string_view bytes;
    const Received received = ReceivePacket(socket_.get(), &buffer_, &bytes, &fds);
    if (received == Received::kEnd) {
      Fail(absl::UnavailableError("the server ended the connection"));
      return why_;
    }
    if (received == Received::kPacket) {
      if (PacketReader(bytes).type() != PacketType::kWake) return bytes;
      continue;
    }
    const int left_ms = MillisUntil(until_ns);
    if (left_ms == 0) return absl::DeadlineExceededError("the server does not answer");
    pollfd wait = {socket_.get(), POLLIN, 0};
    poll(&wait, 1, left_ms);
  }
}

absl::StatusOr<mr_model*> LocalClient::OpenModel(const std::string& name,
                                                 const std::string& version) {
  if (!connected()) return why_;
  const uint32_t tag = ++tag_;
  PacketWriter open(PacketType::kOpen, tag);
  open.Text(name);
  open.Text(version);
  if (!SendPacket(socket_.get(), open.bytes())) {
    return absl::UnavailableError("the server does not read its socket");
  }
  const int64_t until_ns = MonotonicNanos() + timeout_ns_;
  while (true) {
    absl::StatusOr<std::string_view> bytes = NextPacket(until_ns);
    if (!bytes.ok()) return bytes.status();
    PacketReader packet(*bytes);
    if (packet.tag() != tag) continue;  // of a call that gave up
    if (packet.type() == PacketType::kRefused) return Refusal(&packet);
    absl::StatusOr<std::unique_ptr<mr_model>> model = ReadSignature(&packet);
    if (!model.ok()) return model.status();
    models_.push_back(std::move(*model));
    return models_.back().get();
  }
}

absl::StatusOr<std::unique_ptr<mr_model>> LocalClient::ReadSignature(PacketReader* packet) {
  auto model = std::make_unique<mr_model>();
  model->handle = static_cast<uint16_t>(packet->U32());
  model->max_rows = packet->U32();
  for (auto* tensors : {&model->inputs, &model->outputs}) {
    const uint32_t count = packet->U32();
    for (uint32_t i = 0; i < count && packet->ok(); ++i) {
      mr_model::Tensor& tensor = tensors->emplace_back();
      tensor.name = std::string(packet->Text());
      tensor.datatype = static_cast<DataType>(packet->U32());
      tensor.column = packet->U32() != 0;
      const uint32_t rank = packet->U32();
      for (uint32_t d = 0; d < rank && packet->ok(); ++d) {
        tensor.dims.push_back(static_cast<int64_t>(packet->U64()));
        tensor.columns *= static_cast<uint32_t>(tensor.dims.back());
      }
    }
  }
  if (packet->type() != PacketType::kOpened || !packet->ok()) {
    return absl::UnavailableError("a signature that is not understood");
  }
  return model;
}

void LocalClient::SleepUntil(int64_t until_ns) {
  park_.Arm();
  if (!in_->HasNext()) {
    pollfd wait = {socket_.get(), POLLIN, 0};
    if (poll(&wait, 1, MillisUntil(until_ns)) > 0) ReadSocket();
  }
  park_.Disarm();
}

// Wake-ups, and the server's end. What it published before it ended is taken first.
void LocalClient::ReadSocket() {
  std::vector<Fd> fds;
  std::string_view bytes;
  while (connected()) {
    const Received received = ReceivePacket(socket_.get(), &buffer_, &bytes, &fds);
    if (received == Received::kNothing) return;
    if (received == Received::kPacket) continue;
    TakeAnswers();
    if (connected()) Fail(absl::UnavailableError("the server ended the connection"));
  }
}

void LocalClient::Fail(const absl::Status& why) {
  if (!why_.ok()) return;
  why_ = why;
  shutdown(socket_.get(), SHUT_RDWR);
  for (mr_request& request : requests_) {
    if (request.state != mr_request::State::kInFlight) continue;
    request.state = mr_request::State::kEnded;
    request.cancel = false;
    request.code = MR_UNAVAILABLE;
    request.error = std::string(why.message());
    request.answer.block = {};
    if (request.let_go) {
      Free(&request);
    } else {
      ended_.push_back(&request);
    }
  }
  in_flight_ = cancels_ = 0;
}

}  // namespace millrace
