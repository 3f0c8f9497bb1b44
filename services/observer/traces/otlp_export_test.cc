// Sending: batches, bounds, what is sent again, and a collector over HTTP and over gRPC.
#include "services/observer/traces/otlp_export.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <thread>

#include "ipc/fd.h"

namespace millrace {
namespace {

// Answers as it is told; the last answer is for all that follow.
class Scripted : public OtlpSender {
 public:
  explicit Scripted(std::vector<SendResult> script) : script_(std::move(script)) {}
  SendResult Send(const otlp::ExportRequest& request, std::string* why) override {
    sent.push_back(request);
    *why = "as told";
    return script_[std::min(sent.size(), script_.size()) - 1];
  }
  std::vector<otlp::ExportRequest> sent;

 private:
  const std::vector<SendResult> script_;
};

std::vector<SharedTrace> Some(size_t count) {
  std::vector<SharedTrace> traces;
  for (size_t i = 0; i < count; ++i) {
    auto trace = std::make_shared<KeptTrace>();
    trace->id = {1, i + 1};
    KeptSpan root;
    root.id = i + 1;
    root.name = "infer";
    trace->spans = {root};
    traces.push_back(trace);
  }
  return traces;
}

struct Rig {
  explicit Rig(std::vector<SendResult> script) {
    auto owned = std::make_unique<Scripted>(std::move(script));
    sender = owned.get();
    exporter = std::make_unique<OtlpExporter>(std::move(owned), /*pause_ms=*/0);
  }
  Scripted* sender;
  std::unique_ptr<OtlpExporter> exporter;
};

TEST(OtlpExporter, SendsInBatchesAndCounts) {
  Rig rig({SendResult::kSent});
  rig.exporter->Add(Some(OtlpExporter::kBatch + 3));
  EXPECT_TRUE(rig.exporter->SendSome());
  EXPECT_TRUE(rig.exporter->SendSome());
  EXPECT_FALSE(rig.exporter->SendSome());
  ASSERT_EQ(rig.sender->sent.size(), 2u);
  EXPECT_EQ(rig.sender->sent[1].resource_spans(0).scope_spans(0).spans_size(), 3);
  EXPECT_EQ(rig.exporter->exported(), OtlpExporter::kBatch + 3);
}

TEST(OtlpExporter, LosesTheNewestWhenNobodyTakesThem) {
  Rig rig({SendResult::kSent});
  rig.exporter->Add(Some(OtlpExporter::kQueue - 1));
  rig.exporter->Add(Some(10));
  EXPECT_EQ(rig.exporter->lost(), 9u);
  while (rig.exporter->SendSome()) {
  }
  EXPECT_EQ(rig.exporter->exported(), OtlpExporter::kQueue);
}

TEST(OtlpExporter, SendsAgainWhatMayBeTakenLaterAndNotWhatIsRefused) {
  Rig later({SendResult::kAgain, SendResult::kSent});
  later.exporter->Add(Some(2));
  later.exporter->SendSome();
  EXPECT_EQ(later.sender->sent.size(), 2u);
  EXPECT_EQ(later.exporter->exported(), 2u);
  Rig refused({SendResult::kRefused});
  refused.exporter->Add(Some(2));
  refused.exporter->SendSome();
  EXPECT_EQ(refused.sender->sent.size(), 1u);
  EXPECT_EQ(refused.exporter->failed(), 2u);
  Rig never({SendResult::kAgain});
  never.exporter->Add(Some(2));
  never.exporter->SendSome();
  EXPECT_EQ(never.sender->sent.size(), static_cast<size_t>(OtlpExporter::kTries));
  EXPECT_EQ(never.exporter->failed(), 2u);
}

// A server that takes one connection, reads what it needs, and says `answer`.
class OneAnswer {
 public:
  explicit OneAnswer(std::string answer)
      : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in name = {};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof name;
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&name), size), 0);
    EXPECT_EQ(listen(listener_.get(), 4), 0);
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&name), &size);
    port = std::to_string(ntohs(name.sin_port));
    thread_ = std::thread([this, answer] {
      const Fd client(accept(listener_.get(), nullptr, nullptr));
      char buffer[4096];
      size_t need = std::string::npos;
      while (got.size() < need) {
        const ssize_t bytes = recv(client.get(), buffer, sizeof buffer, 0);
        if (bytes <= 0) break;
        got.append(buffer, static_cast<size_t>(bytes));
        const size_t end = got.find("\r\n\r\n"), length = got.find("Content-Length: ");
        if (end != std::string::npos) need = end + 4 + strtoul(&got[length + 16], nullptr, 10);
      }
      send(client.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    });
  }
  ~OneAnswer() {
    if (thread_.joinable()) thread_.join();
  }
  void Wait() { thread_.join(); }

  std::string port, got;

 private:
  Fd listener_;
  std::thread thread_;
};

SendResult SendTo(OneAnswer* server, std::string* why) {
  const auto endpoint = OtlpEndpoint::Parse("http://127.0.0.1:" + server->port + "/v1/traces");
  otlp::ExportRequest request;
  request.add_resource_spans();
  const SendResult result = MakeHttpSender(*endpoint)->Send(request, why);
  server->Wait();
  return result;
}

TEST(OtlpHttp, SaysWhatTheCollectorsAnswerMeans) {
  const std::pair<const char*, SendResult> cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", SendResult::kSent},
      {"HTTP/1.1 202 Accepted\r\n\r\n", SendResult::kSent},
      {"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", SendResult::kRefused},
      {"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", SendResult::kAgain},
      {"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n", SendResult::kAgain},
      {"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n", SendResult::kRefused},
      {"", SendResult::kAgain},
  };
  for (const auto& [answer, result] : cases) {
    OneAnswer server(answer);
    std::string why;
    EXPECT_EQ(SendTo(&server, &why), result) << answer << why;
    EXPECT_EQ(server.got.rfind("POST /v1/traces HTTP/1.1\r\n", 0), 0u) << server.got;
    EXPECT_NE(server.got.find("Content-Type: application/json\r\n"), std::string::npos);
    EXPECT_NE(server.got.find("{\"resourceSpans\":["), std::string::npos);
  }
}

TEST(OtlpHttp, NobodyThereIsForLater) {
  std::string why;
  OtlpEndpoint endpoint = *OtlpEndpoint::Parse("http://127.0.0.1:1");
  EXPECT_EQ(MakeHttpSender(endpoint)->Send({}, &why), SendResult::kAgain);
  EXPECT_NE(why.find("cannot reach"), std::string::npos);
  EXPECT_EQ(MakeGrpcSender(endpoint)->Send({}, &why), SendResult::kAgain);
}

TEST(OtlpExport, APublicAddressIsNotSentTo) {
  OtlpEndpoint endpoint;
  endpoint.host = "8.8.8.8";
  endpoint.port = "4318";
  EXPECT_TRUE(absl::IsPermissionDenied(PrivateAddress(endpoint).status()));
  endpoint.host = "localhost";
  EXPECT_TRUE(PrivateAddress(endpoint).ok());
}

}  // namespace
}  // namespace millrace
