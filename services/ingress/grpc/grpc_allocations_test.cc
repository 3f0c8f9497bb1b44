// What the lane's thread allocates for each request over gRPC, beside what a bare echo on gRPC's
// completion queue allocates for calls of the same sizes: gRPC's own.
//
// The client is a process of its own, since pollers of one process do each other's work. It is
// forked before anything here has a thread.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "common/testing/allocations.h"
#include "services/ingress/access/key_file_for_test.h"
#include "services/ingress/grpc/grpc_server.h"
#include "services/ingress/grpc/infer_encoder.h"
#include "services/ingress/grpc/listening_socket_for_test.h"
#include "services/ingress/grpc/raw_services.h"
#include "services/ingress/testing/quiet_frontend.h"

namespace millrace {
namespace {

using inference::GRPCInferenceService;
using inference::ModelInferRequest;

constexpr int kWarmUp = 300;
constexpr int kCounted = 500;
constexpr int kCalls = kWarmUp + kCounted;
constexpr int64_t kLimitNs = 60 * kNanosPerSecond;
constexpr std::string_view kId = "a request with an id of the client's own";
constexpr char kKey[] = "infer";  // of KeysForTest

enum class Form : int { kRaw, kTyped, kTimeout };

// What the client process is asked to do: kCalls requests, one after the other.
struct Task {
  bool stream = false;
  Form form = Form::kRaw;
  int rows = 1;
  bool keyed = false;
  char target[100] = {};
};

ModelInferRequest RequestOf(const Task& task) {
  ModelInferRequest request;
  request.set_model_name("plain");
  request.set_id(std::string(kId));
  auto* input = request.add_inputs();
  input->set_name("input");
  input->set_datatype("FP32");
  input->add_shape(task.rows);
  input->add_shape(3);
  if (task.form == Form::kTyped) {
    for (int i = 0; i < 3 * task.rows; ++i) input->mutable_contents()->add_fp32_contents(i);
  } else {
    request.add_raw_input_contents(std::string(task.rows * 12, 'r'));
  }
  if (task.form == Form::kTimeout) {
    (*request.mutable_parameters())["timeout"].set_int64_param(60'000'000);
  }
  return request;
}

// The client's process.
bool CallUnary(GRPCInferenceService::Stub* stub, const Task& task) {
  const ModelInferRequest request = RequestOf(task);
  for (int i = 0; i < kCalls; ++i) {
    grpc::ClientContext context;
    if (task.keyed) context.AddMetadata("x-api-key", kKey);
    inference::ModelInferResponse response;
    if (!stub->ModelInfer(&context, request, &response).ok() || response.id() != kId) return false;
  }
  return true;
}

bool CallStream(GRPCInferenceService::Stub* stub, const Task& task) {
  const ModelInferRequest request = RequestOf(task);
  grpc::ClientContext context;
  if (task.keyed) context.AddMetadata("x-api-key", kKey);
  const auto stream = stub->ModelStreamInfer(&context);
  inference::ModelStreamInferResponse response;
  for (int i = 0; i < kCalls; ++i) {
    if (!stream->Write(request) || !stream->Read(&response)) return false;
    if (!response.error_message().empty() || response.infer_response().id() != kId) return false;
  }
  stream->WritesDone();
  return stream->Finish().ok();
}

[[noreturn]] void RunClient(int control) {
  Task task;
  while (read(control, &task, sizeof task) == sizeof task) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    const auto stub = GRPCInferenceService::NewStub(
        grpc::CreateCustomChannel(task.target, grpc::InsecureChannelCredentials(), arguments));
    const char well = (task.stream ? CallStream : CallUnary)(stub.get(), task) ? 'y' : 'n';
    if (write(control, &well, 1) != 1) break;
  }
  _exit(0);
}

int client_control = -1;

// Allocations of this thread between one request and the next.
class Tally {
 public:
  Tally() { counts_.reserve(kCalls); }

  void Next() {
    const uint64_t now = Allocations();
    if (counts_.size() < counts_.capacity()) counts_.push_back(now - last_);
    last_ = now;
  }

  // After the warm-up: what most requests took, and what all took together.
  struct Sum {
    uint64_t usual = 0;
    uint64_t all = 0;
  };
  Sum sum() const {
    MR_CHECK(counts_.size() == kCalls, "each request was counted");
    Sum sum;
    std::map<uint64_t, int> times;
    for (size_t i = kWarmUp; i < counts_.size(); ++i) {
      sum.all += counts_[i];
      ++times[counts_[i]];
    }
    sum.usual = std::max_element(times.begin(), times.end(), [](const auto& a, const auto& b) {
                  return a.second < b.second;
                })->first;
    return sum;
  }

 private:
  std::vector<uint64_t> counts_;
  uint64_t last_ = 0;
};

// Turns the lane until the client is done with its task.
Tally::Sum Measure(Task task, const std::string& target, const Tally& tally,
                   const std::function<void()>& turn) {
  MR_CHECK(target.size() < sizeof task.target, "a target is short");
  target.copy(task.target, target.size());
  MR_CHECK(write(client_control, &task, sizeof task) == sizeof task, "the client listens");
  const int64_t end_ns = MonotonicNanos() + kLimitNs;
  char well = 0;
  while (recv(client_control, &well, 1, MSG_DONTWAIT) != 1) {
    MR_CHECK(MonotonicNanos() < end_ns, "the client's calls are answered");
    turn();
  }
  MR_CHECK(well == 'y', "the client's calls succeed");
  return tally.sum();
}

struct Set {
  bool keys = false;
  bool clumsy = false;
};

Tally::Sum MeasureOurs(const Task& task, Set set = {}) {
  Tally tally;
  std::string clumsy;
  QuietFrontend frontend(task.rows, [&] {
    tally.Next();
    if (set.clumsy) std::string(kId).swap(clumsy);
  });
  const ListeningSocket socket(SocketKind::kUnix);
  GrpcServerOptions options;
  if (set.keys) options.keys = KeysForTest();
  const auto server = GrpcServer::Start(&frontend, options, socket.fd());
  MR_CHECK(server.ok(), "the server starts");
  const Tally::Sum sum = Measure(task, socket.target(), tally, [&] {
    if ((*server)->Poll(64) == 0) (*server)->Wait(kNanosPerMilli);
    frontend.Poll();
  });
  (*server)->Shutdown(0);
  return sum;
}

// The least that a server on the completion queue does: one call is always posted ahead, and each
// is answered as it comes with bytes that are there.
class Echo {
 public:
  Echo(const Task& task, const std::string& reply, Tally* tally)
      : task_(task), reply_(reply), tally_(tally) {
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    builder.RegisterService(&services_.inference);
    builder.AddListeningPort(target(), grpc::InsecureServerCredentials());
    queue_ = builder.AddCompletionQueue();
    server_ = builder.BuildAndStart();
    MR_CHECK(server_ != nullptr, "the echo starts");
    task.stream ? PostStream() : PostUnary();
  }
  ~Echo() {
    server_->Shutdown(gpr_now(GPR_CLOCK_MONOTONIC));
    queue_->Shutdown();
    void* tag;
    bool ok;
    while (queue_->Next(&tag, &ok)) {
    }
    unlink(path_.c_str());
  }

  std::string target() const { return "unix:" + path_; }

  void Turn() {
    void* tag = nullptr;
    bool ok = false;
    const gpr_timespec limit =
        gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(1, GPR_TIMESPAN));
    if (queue_->AsyncNext(&tag, &ok, limit) != grpc::CompletionQueue::GOT_EVENT) return;
    (this->*(*static_cast<Handler*>(tag)))(ok);
  }

 private:
  using Handler = void (Echo::*)(bool ok);

  struct Call {
    std::optional<grpc::ServerContext> context;
    std::optional<RawWriter> writer;
    grpc::ByteBuffer wire;
  };

  grpc::ByteBuffer Reply() const {
    const grpc::Slice slice(reply_.data(), reply_.size());
    return grpc::ByteBuffer(&slice, 1);
  }

  void PostUnary() {
    Call& call = calls_[posted_ ^= 1];
    call.context.emplace();
    call.writer.emplace(&*call.context);
    services_.inference.RequestModelInfer(&*call.context, &call.wire, &*call.writer, queue_.get(),
                                          queue_.get(), &arrived_);
  }
  void OnCall(bool ok) {
    if (!ok) return;
    tally_->Next();
    Call& call = calls_[posted_];
    PostUnary();
    call.wire.Clear();
    call.writer->Finish(Reply(), grpc::Status::OK, &ignored_);
  }

  void PostStream() {
    calls_[0].context.emplace();
    stream_.emplace(&*calls_[0].context);
    services_.inference.RequestModelStreamInfer(&*calls_[0].context, &*stream_, queue_.get(),
                                                queue_.get(), &opened_);
  }
  void OnStream(bool ok) {
    if (ok) stream_->Read(&calls_[0].wire, &message_);
  }
  void OnMessage(bool ok) {
    if (!ok) return stream_->Finish(grpc::Status::OK, &ignored_);
    tally_->Next();
    calls_[0].wire.Clear();
    stream_->Read(&calls_[0].wire, &message_);
    stream_->Write(Reply(), &ignored_);
  }
  void Ignore(bool) {}

  const Task task_;
  const std::string reply_;
  Tally* const tally_;
  const std::string path_ = "/tmp/millrace_echo_" + std::to_string(getpid());
  Handler arrived_ = &Echo::OnCall;
  Handler opened_ = &Echo::OnStream;
  Handler message_ = &Echo::OnMessage;
  Handler ignored_ = &Echo::Ignore;
  RawServices services_;
  std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<grpc::Server> server_;
  Call calls_[2];
  size_t posted_ = 0;
  std::optional<RawStream> stream_;
};

Tally::Sum MeasureEcho(const Task& task) {
  Tally tally;
  const QuietFrontend frontend(task.rows);
  InferEncoder encoder;
  grpc::ByteBuffer bytes = task.stream ? encoder.EncodeStreamed(frontend.answer(), kId, false)
                                       : encoder.Encode(frontend.answer(), kId);
  std::vector<grpc::Slice> slices;
  MR_CHECK(bytes.Dump(&slices).ok() && slices.size() == 1, "a reply in one piece");
  const std::string reply(reinterpret_cast<const char*>(slices[0].begin()), slices[0].size());
  Echo echo(task, reply, &tally);
  return Measure(task, echo.target(), tally, [&] { echo.Turn(); });
}

class GrpcAllocationsTest : public ::testing::TestWithParam<bool> {
 protected:
  // How many more than the echo's, of most requests; the figures are printed.
  int64_t Ours(Task task, Set set = {}) {
    task.stream = GetParam();
    const Tally::Sum echo = MeasureEcho(task);
    const Tally::Sum ours = MeasureOurs(task, set);
    printf("  %s of %d rows: gRPC %ld a request, with the adapter %ld; of %d: %ld and %ld\n",
           task.stream ? "messages" : "calls", task.rows, static_cast<long>(echo.usual),
           static_cast<long>(ours.usual), kCounted, static_cast<long>(echo.all),
           static_cast<long>(ours.all));
    const int64_t more = static_cast<int64_t>(ours.usual) - static_cast<int64_t>(echo.usual);
    // One now and then would not show in most; large messages come in as many pieces as they will.
    if (task.rows == 1) {
      EXPECT_LE(ours.all, echo.all + kCounted * (more > 0 ? more : 0) + kCounted / 5);
    }
    return more;
  }
};

TEST_P(GrpcAllocationsTest, ARequestOfRawContentsTakesNothing) {
  for (const int rows : {1, 7, 1000}) EXPECT_EQ(Ours({.rows = rows}), 0) << rows;
}

// protobuf frees a message in a message, and its numbers, when the outer one is cleared.
TEST_P(GrpcAllocationsTest, TypedContentsTakeTwoOfProtobufs) {
  for (const int rows : {1, 1000}) {
    EXPECT_EQ(Ours({.form = Form::kTyped, .rows = rows}), 2) << rows;
  }
}

// The same of an entry of a map.
TEST_P(GrpcAllocationsTest, AParameterTakesOneOfProtobufs) {
  EXPECT_EQ(Ours({.form = Form::kTimeout}), 1);
}

// gRPC makes a map of a call's metadata for who looks into them: here the key and "user-agent".
// A stream's are looked at once.
TEST_P(GrpcAllocationsTest, AKeyTakesOneOfGrpcsForEachOfTheMetadata) {
  EXPECT_EQ(Ours({.keyed = true}, {.keys = true}), GetParam() ? 0 : 2);
}

TEST_P(GrpcAllocationsTest, OneMoreIsSeen) { EXPECT_EQ(Ours({}, {.clumsy = true}), 1); }

INSTANTIATE_TEST_SUITE_P(Methods, GrpcAllocationsTest, ::testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Streams" : "Calls"; });

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  int sockets[2];
  MR_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0, "a pair");
  const pid_t client = fork();
  if (client == 0) {
    close(sockets[0]);
    millrace::RunClient(sockets[1]);
  }
  close(sockets[1]);
  millrace::client_control = sockets[0];
  ::testing::InitGoogleTest(&argc, argv);
  const int result = RUN_ALL_TESTS();
  close(sockets[0]);
  waitpid(client, nullptr, 0);
  return result;
}
