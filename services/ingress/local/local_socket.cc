// The packets of one local client: who it is, its regions, the models it opens.
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "ipc/window.h"
#include "services/ingress/local/local_peer.h"

namespace millrace {
namespace {

constexpr uint64_t kMinWindowBytes = 1 << 20;
constexpr size_t kMaxHandles = 256;

// The size of what cannot change its size any more; 0 for anything else.
uint64_t SealedBytes(int fd) {
  constexpr int kFixed = F_SEAL_SHRINK | F_SEAL_GROW;
  const int seals = fcntl(fd, F_GET_SEALS);
  struct stat info;
  if (seals < 0 || (seals & kFixed) != kFixed || fstat(fd, &info) != 0) return 0;
  return info.st_size > 0 ? static_cast<uint64_t>(info.st_size) : 0;
}

const Model* FindModel(const Catalog& catalog, std::string_view name, std::string_view version) {
  for (const Model& model : catalog.models()) {
    if (model.name() != name) continue;
    if (version.empty() ? model.latest() : model.version() == version) return &model;
  }
  return nullptr;
}

}  // namespace

void LocalPeer::Send(const PacketWriter& packet, const std::vector<int>& fds) {
  if (!SendPacket(socket_.get(), packet.bytes(), fds)) Cut("does not read its socket");
}

void LocalPeer::Refuse(uint32_t tag, const absl::Status& status) {
  PacketWriter refused(PacketType::kRefused, tag);
  refused.U32(static_cast<uint32_t>(status.code()));
  refused.Text({status.message().data(), status.message().size()});
  Send(refused);
}

void LocalPeer::OnSocket() {
  std::vector<Fd> fds;
  std::string_view bytes;
  for (int i = 0; i < kPackets && !gone_; ++i) {
    switch (ReceivePacket(socket_.get(), &shared_->buffer, &bytes, &fds)) {
      case Received::kNothing:
        return;
      case Received::kEnd:
        gone_ = true;
        return;
      case Received::kPacket:
        PacketReader packet(bytes);
        OnPacket(&packet, fds);
    }
  }
}

void LocalPeer::OnPacket(PacketReader* packet, const std::vector<Fd>& fds) {
  absl::Status status;
  switch (packet->type()) {
    case PacketType::kWake:
      return;  // the links are looked at in every turn
    case PacketType::kHello:
      if (greeted_) return Cut("greets twice");
      greeted_ = true;
      status = Welcome(packet);
      break;
    case PacketType::kRegions:
      if (!greeted_ || serving_) return Cut("hands its regions over at a wrong time");
      status = TakeRegions(fds);
      break;
    case PacketType::kOpen:
      if (!serving_) return Cut("opens a model before its regions are there");
      return Open(packet);
    default:
      return Cut("sends a packet of no known type");
  }
  if (status.ok()) return;
  Refuse(packet->tag(), status);
  Cut("was refused");
}

absl::Status LocalPeer::Welcome(PacketReader* hello) {
  const uint32_t magic = hello->U32(), version = hello->U32();
  const uint64_t layout = hello->U64(), answer_bytes = hello->U64();
  if (!hello->ok() || magic != kLocalMagic) return absl::InvalidArgumentError("no Hello of ours");
  if (version != kLocalVersion || layout != kLocalLayout) {
    return absl::FailedPreconditionError(
        absl::StrCat("the client speaks version ", version, " of the local protocol, this server ",
                     kLocalVersion, version == kLocalVersion ? " with another layout" : ""));
  }
  const LocalOptions& options = shared_->options;
  const size_t block =
      PackWriter::BytesBound(kMaxPackTensors, std::min(answer_bytes, options.request_bytes));
  const size_t window = std::max<size_t>(kMinWindowBytes, 2 * block);
  const ArenaShape shape = ArenaShape::For(1, options.in_flight, window, block);
  uint64_t slots = kMinSlots;
  while (slots < kSlotsPerPlace * options.in_flight) slots *= 2;
  const uint64_t ours = shape.TotalBytes() + SlotsRegionBytes(slots) + ReturnsRegionBytes(slots);
  if (ours > shared_->memory_left) {
    return absl::ResourceExhaustedError("no memory is left for another local client");
  }
  absl::StatusOr<LinkConsumer> in = LinkConsumer::Create(kClientEnd, kServerEnd, slots);
  if (!in.ok()) return in.status();
  absl::StatusOr<LinkProducer> out = LinkProducer::Create(kServerEnd, kClientEnd, slots);
  if (!out.ok()) return out.status();
  absl::StatusOr<Arena> arena = Arena::Create(kServerEnd, shape);
  if (!arena.ok()) return arena.status();
  shared_->memory_left -= ours;
  memory_taken_ += ours;
  requests_.emplace(std::move(*in));
  replies_.emplace(std::move(*out));
  arena_.emplace(std::move(*arena));
  returned_.reserve(slots);
  PacketWriter welcome(PacketType::kWelcome, 0);
  welcome.U32(kLocalVersion);
  welcome.U32(static_cast<uint32_t>(slots));
  welcome.U32(static_cast<uint32_t>(options.in_flight));
  welcome.U64(options.request_bytes);
  welcome.U64(shared_->memory_left);
  Send(welcome,
       {replies_->fd(), requests_->fd(), arena_->region().fd().get(), shared_->words.fd().get()});
  return absl::OkStatus();
}

absl::Status LocalPeer::TakeRegions(const std::vector<Fd>& fds) {
  if (fds.size() != kLocalRegions) {
    return absl::InvalidArgumentError("a client hands four regions over");
  }
  uint64_t bytes = 0;
  for (const Fd& fd : fds) {
    const uint64_t size = SealedBytes(fd.get());
    if (size == 0) return absl::FailedPreconditionError("a region that is not sealed memory");
    bytes += std::min(size, shared_->options.memory_bytes + 1);  // so that no sum overflows
  }
  if (bytes > shared_->memory_left) {
    return absl::ResourceExhaustedError(absl::StrCat("the regions have ", bytes, " bytes, and ",
                                                     shared_->memory_left, " are left"));
  }
  if (absl::Status s = requests_->Attach(fds[0].get()); !s.ok()) return s;
  if (absl::Status s = replies_->Attach(fds[1].get()); !s.ok()) return s;
  absl::StatusOr<ArenaView> arena = ArenaView::Open(fds[2].get(), kClientEnd);
  if (!arena.ok()) return arena.status();
  absl::StatusOr<Region> words =
      Region::Open(fds[3].get(), kLocalWordsType, kClientEnd, sizeof(LocalWords));
  if (!words.ok()) return words.status();
  shared_->memory_left -= bytes;
  memory_taken_ += bytes;
  their_arena_ = std::move(*arena);
  their_words_ = std::move(*words);
  gate_ = WakeGate<Hardware>(&their_words_.as<const LocalWords>()->parked);
  flights_ = std::vector<Flight>(shared_->options.in_flight);
  for (size_t place = flights_.size(); place-- > 0;) {
    flights_[place].peer = this;
    flights_[place].place = static_cast<uint16_t>(place);
    free_.push_back(static_cast<uint16_t>(place));
  }
  inputs_.reserve(kMaxPackTensors);
  dims_.reserve(2 * kMaxPackTensors);
  wanted_.reserve(kMaxLocalOutputs);
  serving_ = true;
  Send(PacketWriter(PacketType::kReady, 0));
  return absl::OkStatus();
}

void LocalPeer::Open(PacketReader* packet) {
  const std::string_view name = packet->Text(), version = packet->Text();
  if (!packet->ok() || name.size() > kMaxLocalNames || version.size() > kMaxLocalNames) {
    return Refuse(packet->tag(), absl::InvalidArgumentError("no request to open a model"));
  }
  if (handles_.size() >= kMaxHandles) {
    return Refuse(packet->tag(), absl::ResourceExhaustedError("too many models are opened"));
  }
  // Says what is not there, as for a request by name.
  if (absl::Status s = shared_->frontend->ModelReady(name, version); absl::IsNotFound(s)) {
    return Refuse(packet->tag(), s);
  }
  const std::shared_ptr<const Catalog> catalog = shared_->frontend->catalog();
  const Routed asked = shared_->frontend->Described(name, version);
  const Model* model =
      catalog == nullptr ? nullptr : FindModel(*catalog, asked.model, asked.version);
  if (model == nullptr) {
    return Refuse(packet->tag(), absl::UnavailableError("no model is served yet"));
  }
  auto handle = std::make_unique<Handle>();
  handle->model = std::string(name);
  handle->version = std::string(version);
  PacketWriter opened(PacketType::kOpened, packet->tag());
  opened.U32(static_cast<uint32_t>(handles_.size()));
  opened.U32(model->max_rows());
  Describe(*model, handle.get(), &opened);
  if (handle->outputs.size() > kMaxLocalOutputs || handle->inputs.size() > kMaxPackTensors ||
      opened.bytes().size() > kMaxPacketBytes) {
    return Refuse(packet->tag(), absl::ResourceExhaustedError(
                                     "the model's signature is too long for a local client"));
  }
  handles_.push_back(std::move(handle));
  Send(opened);
}

// Places of inputs: the ready tensors first, then the raw columns in order of their first use.
void LocalPeer::Describe(const Model& model, Handle* handle, PacketWriter* packet) const {
  for (const TensorSpec& spec : model.inputs()) {
    Handle::Input& input = handle->inputs.emplace_back();
    input.name = spec.name();
    input.dims.assign(spec.dims().begin(), spec.dims().end());
    for (int64_t d : spec.dims()) input.columns *= d;
  }
  std::vector<bool> text(handle->inputs.size());
  for (const Feature& feature : model.view().features()) {
    const bool known =
        std::any_of(handle->inputs.begin(), handle->inputs.end(),
                    [&](const Handle::Input& i) { return i.column && i.name == feature.column(); });
    if (known) continue;
    Handle::Input& input = handle->inputs.emplace_back();
    input.name = feature.column();
    input.column = true;
    input.dims = {1};
    text.push_back(feature.type() == Feature::STRING);
  }
  packet->U32(static_cast<uint32_t>(handle->inputs.size()));
  for (size_t i = 0; i < handle->inputs.size(); ++i) {
    const Handle::Input& input = handle->inputs[i];
    packet->Text(input.name);
    const DataType type = text[i] ? DataType::kBytes : DataType::kFp64;
    packet->U32(input.column ? static_cast<uint32_t>(type)
                             : model.inputs(static_cast<int>(i)).datatype());
    packet->U32(input.column ? 1 : 0);
    packet->U32(static_cast<uint32_t>(input.dims.size()));
    for (int64_t d : input.dims) packet->U64(static_cast<uint64_t>(d));
  }
  packet->U32(static_cast<uint32_t>(model.outputs_size()));
  for (const OutputSpec& output : model.outputs()) {
    handle->outputs.push_back(output.tensor().name());
    packet->Text(output.tensor().name());
    packet->U32(output.tensor().datatype());
    packet->U32(0);
    packet->U32(static_cast<uint32_t>(output.tensor().dims_size()));
    for (int64_t d : output.tensor().dims()) packet->U64(static_cast<uint64_t>(d));
  }
}

}  // namespace millrace
