// HTTP over TLS, with clients that do it right, wrong, slowly, or not at all.
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/testing/certificates_for_test.h"
#include "services/ingress/http/http_client_for_test.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

constexpr std::string_view kInfer = "/v2/models/plain/infer";
constexpr std::string_view kGet = "GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr int64_t kPatienceNanos = 10 * kNanosPerSecond;

// A client over TLS; the server's loop is turned while it waits.
class TlsClient {
 public:
  explicit TlsClient(TestServer* test, const TestIdentity* identity = nullptr,
                     std::string_view protocol = "http/1.1", int version = 0)
      : test_(test), context_(SSL_CTX_new(TLS_client_method())), fd_(test->Connect()) {
    signal(SIGPIPE, SIG_IGN);
    if (identity != nullptr) {
      const std::string certificate = WriteTestFile("client.pem", identity->certificate);
      const std::string key = WriteTestFile("client.key", identity->key);
      EXPECT_EQ(SSL_CTX_use_certificate_chain_file(context_, certificate.c_str()), 1);
      EXPECT_EQ(SSL_CTX_use_PrivateKey_file(context_, key.c_str(), SSL_FILETYPE_PEM), 1);
    }
    if (version != 0) SSL_CTX_set_max_proto_version(context_, version);
    if (version != 0) SSL_CTX_set_security_level(context_, 0);
    SSL_CTX_set_mode(context_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    ssl_ = SSL_new(context_);
    const std::string offer = static_cast<char>(protocol.size()) + std::string(protocol);
    SSL_set_alpn_protos(ssl_, reinterpret_cast<const unsigned char*>(offer.data()),
                        static_cast<unsigned>(offer.size()));
    BIO_socket_nbio(fd_, 1);
    SSL_set_fd(ssl_, fd_);
  }
  ~TlsClient() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
    close(fd_);
  }

  int fd() const { return fd_; }
  SSL* ssl() { return ssl_; }

  bool Handshake() {
    return Turn([&] { return SSL_connect(ssl_); }) == 1;
  }
  void Send(std::string_view text) {
    while (!text.empty()) {
      const int sent =
          Turn([&] { return SSL_write(ssl_, text.data(), static_cast<int>(text.size())); });
      ASSERT_GT(sent, 0);
      text.remove_prefix(static_cast<size_t>(sent));
    }
  }
  // Reads until `end` has come `times`, or the stream's end.
  std::string ReadUntil(std::string_view end, size_t times = 1) {
    std::string text;
    while (true) {
      size_t seen = 0;
      for (size_t at = text.find(end); at != std::string::npos; at = text.find(end, at + 1)) ++seen;
      if (!end.empty() && seen >= times) return text;
      char chunk[4096];
      const int bytes = Turn([&] { return SSL_read(ssl_, chunk, sizeof(chunk)); });
      if (bytes <= 0) return text;
      text.append(chunk, static_cast<size_t>(bytes));
    }
  }
  bool Live() {
    Send(kGet);
    return ReadUntil(R"({"live":true})").find("HTTP/1.1 200 ") == 0;
  }
  // The CN of the server's certificate.
  std::string ServerName() {
    X509* certificate = SSL_get1_peer_certificate(ssl_);
    if (certificate == nullptr) return "";
    char name[64] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name,
                              sizeof(name));
    X509_free(certificate);
    return name;
  }
  // After a call failed: the server said by TLS that it ends.
  bool Notified() const { return (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0; }

 private:
  int Turn(const std::function<int()>& call) {
    const int64_t start = MonotonicNanos();
    while (true) {
      ERR_clear_error();
      const int result = call();
      const int error = SSL_get_error(ssl_, result);
      if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return result;
      if (MonotonicNanos() - start > kPatienceNanos) return -1;
      test_->Settle();
    }
  }

  TestServer* test_;
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  int fd_;
};

class HttpTls : public ::testing::Test {
 protected:
  HttpTls() { Write(authority_.Issue("first")); }

  void Write(const TestIdentity& identity) {
    options_.tls.certificate = WriteTestFile("server.pem", identity.certificate);
    options_.tls.key = WriteTestFile("server.key", identity.key);
  }
  void DemandClients() {
    options_.tls.client_ca = WriteTestFile("clients.pem", clients_.certificate());
  }

  TestAuthority authority_{"authority"};
  TestAuthority clients_{"clients"};
  HttpOptions options_;
};

TEST_F(HttpTls, RequestsAndPipelines) {
  TestServer test(options_);
  TlsClient client(&test);
  ASSERT_TRUE(client.Handshake());
  EXPECT_EQ(client.ServerName(), "first");
  const unsigned char* protocol = nullptr;
  unsigned bytes = 0;
  SSL_get0_alpn_selected(client.ssl(), &protocol, &bytes);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(protocol), bytes), "http/1.1");
  client.Send(Post(kInfer, kPlainBody));
  EXPECT_NE(client.ReadUntil(kPlainAnswer).find("HTTP/1.1 200 "), std::string::npos);
  std::string many;
  for (int i = 0; i < 50; ++i) many += Post(kInfer, kPlainBody);
  client.Send(many);
  const std::string answers = client.ReadUntil(kPlainAnswer, 50);
  EXPECT_EQ(answers.substr(answers.size() - kPlainAnswer.size()), kPlainAnswer);
  EXPECT_EQ(test.server().counters().requests, 51u);
  EXPECT_EQ(test.server().counters().failed_handshakes, 0u);
}

TEST_F(HttpTls, BodiesOfManyRecordsAndContinue) {
  options_.max_body_bytes = 4 << 20;
  TestServer test(options_);
  TlsClient client(&test);
  ASSERT_TRUE(client.Handshake());
  std::string row = "[1,2,3.5]";
  std::string data = row;
  for (int i = 1; i < 50'000; ++i) data += "," + row;
  const std::string body = Concat(R"({"inputs":[{"name":"input","shape":[50000,3],)",
                                  R"("datatype":"FP32","data":[)", data, "]}]}");
  // A model with strings: its signature bounds no body.
  client.Send(Concat("POST /v2/models/viewed/infer HTTP/1.1\r\nExpect: 100-continue\r\n",
                     "Content-Length: ", body.size(), "\r\n\r\n"));
  EXPECT_EQ(client.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send(body);
  const std::string answer = client.ReadUntil("]}]}");
  EXPECT_EQ(answer.find("HTTP/1.1 200 "), 0u) << answer.substr(0, 200);
  EXPECT_GT(answer.size(), 400'000u);
}

// A refusal is a sentence, over TLS too; beyond some of these at a time it is a closed socket.
TEST_F(HttpTls, ConnectionsOverTheLimit) {
  options_.max_connections = 1;
  options_.linger_ms = 3000;  // longer than 17 handshakes take
  TestServer test(options_);
  TlsClient first(&test);
  ASSERT_TRUE(first.Handshake());
  std::vector<std::unique_ptr<TlsClient>> more;
  for (int i = 0; i < 16; ++i) {
    more.push_back(std::make_unique<TlsClient>(&test));
    ASSERT_TRUE(more.back()->Handshake()) << i;
  }
  TlsClient beyond(&test);
  EXPECT_FALSE(beyond.Handshake());
  more[0]->Send(Post(kInfer, kPlainBody));
  const std::string answer = more[0]->ReadUntil("");
  EXPECT_EQ(answer.find("HTTP/1.1 503 "), 0u) << answer;
  EXPECT_NE(answer.find(R"({"error":"too many connections"})"), std::string::npos) << answer;
  EXPECT_TRUE(more[0]->Notified());
  EXPECT_TRUE(test.frontend().seen().empty());
  // One that asks nothing is not kept.
  more[1]->ReadUntil("");
  EXPECT_TRUE(more[1]->Notified());
  EXPECT_EQ(test.server().counters().refused_connections, 17u);
  EXPECT_TRUE(first.Live());
}

TEST_F(HttpTls, EndsWithCloseNotify) {
  TestServer test(options_);
  TlsClient client(&test);
  ASSERT_TRUE(client.Handshake());
  client.Send("GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_NE(client.ReadUntil("").find(R"({"live":true})"), std::string::npos);
  EXPECT_TRUE(client.Notified());
}

TEST_F(HttpTls, ClientsThatSpeakNoTlsAreClosed) {
  TestServer test(options_);
  for (std::string_view text :
       {kGet, std::string_view("\x16\x03\x01\x02"), std::string_view("\0", 1)}) {
    const int fd = test.Connect();
    test.Send(fd, text);
    if (text != kGet) shutdown(fd, SHUT_WR);
    EXPECT_TRUE(test.Ends(fd));
    EXPECT_EQ(test.unread(fd).find("HTTP/"), std::string::npos);
    close(fd);
  }
  EXPECT_EQ(test.server().counters().failed_handshakes, 3u);
  EXPECT_EQ(test.server().counters().requests, 0u);
  TlsClient other(&test, nullptr, "h2");
  EXPECT_FALSE(other.Handshake());
  TlsClient old(&test, nullptr, "http/1.1", TLS1_1_VERSION);
  EXPECT_FALSE(old.Handshake());
  TlsClient client(&test, nullptr, "http/1.1", TLS1_2_VERSION);
  ASSERT_TRUE(client.Handshake());
  EXPECT_TRUE(client.Live());
}

TEST_F(HttpTls, SlowHandshakesEnd) {
  options_.header_timeout_ms = 150;
  TestServer test(options_);
  const int silent = test.Connect();
  const int half = test.Connect();
  test.Send(half, "\x16\x03\x01");
  EXPECT_TRUE(test.Ends(silent));
  EXPECT_TRUE(test.Ends(half));
  EXPECT_EQ(test.server().counters().timeouts, 2u);
  EXPECT_EQ(test.server().connections(), 0u);
  close(silent);
  close(half);
}

TEST_F(HttpTls, ClientThatLeavesCancels) {
  TestServer test(options_);
  test.frontend().set_mode(FakeFrontend::Mode::kHold);
  for (const bool polite : {true, false}) {
    TlsClient client(&test);
    ASSERT_TRUE(client.Handshake());
    client.Send(Post(kInfer, kPlainBody));
    const int64_t sent_ns = MonotonicNanos();
    while (test.server().active_requests() == 0 && MonotonicNanos() - sent_ns < kPatienceNanos) {
      test.Settle();
    }
    ASSERT_EQ(test.server().active_requests(), 1u) << polite;
    if (polite) SSL_shutdown(client.ssl());
    shutdown(client.fd(), SHUT_RDWR);
    const uint64_t before = test.server().counters().cancelled;
    const int64_t start = MonotonicNanos();
    while (test.server().counters().cancelled == before &&
           MonotonicNanos() - start < kPatienceNanos) {
      test.Settle();
    }
    EXPECT_EQ(test.server().counters().cancelled, before + 1);
    test.frontend().ReleaseAll();
    test.Settle();
  }
}

TEST_F(HttpTls, DemandsClientsCertificates) {
  DemandClients();
  TestServer test(options_);
  const TestIdentity right = clients_.Issue("client");
  const TestIdentity wrong = authority_.Issue("client");
  {
    // With TLS 1.3 the client's side ends first; the server's word comes with the first read.
    TlsClient client(&test);
    if (client.Handshake()) {
      client.Send(kGet);
      EXPECT_EQ(client.ReadUntil(""), "");
    }
    TlsClient stranger(&test, &wrong);
    if (stranger.Handshake()) {
      stranger.Send(kGet);
      EXPECT_EQ(stranger.ReadUntil(""), "");
    }
  }
  EXPECT_EQ(test.server().counters().failed_handshakes, 2u);
  EXPECT_EQ(test.server().counters().requests, 0u);
  TlsClient client(&test, &right);
  ASSERT_TRUE(client.Handshake());
  EXPECT_TRUE(client.Live());
}

TEST_F(HttpTls, TakesChangedFilesAndKeepsTheFormerOnesOfBroken) {
  TestServer test(options_);
  TlsClient before(&test);
  ASSERT_TRUE(before.Handshake());
  const auto wait_for = [&](const std::function<bool()>& until) {
    const int64_t start = MonotonicNanos();
    while (!until() && MonotonicNanos() - start < kPatienceNanos) test.Settle();
    return until();
  };
  const HttpCounters& counters = test.server().counters();
  WriteTestFile("server.pem", "not a certificate");
  ASSERT_TRUE(wait_for([&] { return counters.tls_faults == 1; }));
  {
    TlsClient client(&test);
    ASSERT_TRUE(client.Handshake());
    EXPECT_EQ(client.ServerName(), "first");
  }
  Write(authority_.Issue("second"));
  ASSERT_TRUE(wait_for([&] { return counters.tls_rotations == 1; }));
  TlsClient after(&test);
  ASSERT_TRUE(after.Handshake());
  EXPECT_EQ(after.ServerName(), "second");
  // Who was there stays.
  EXPECT_TRUE(before.Live());
}

TEST_F(HttpTls, BadFilesEndTheStart) {
  FakeFrontend frontend;
  const int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(listen(listening, 1), 0);  // on a free port
  EXPECT_TRUE(HttpServer::Create(&frontend, options_, listening, -1).ok());
  options_.tls.key = WriteTestFile("other.key", authority_.Issue("other").key);
  const auto server = HttpServer::Create(&frontend, options_, listening, -1);
  EXPECT_NE(server.status().ToString().find("no key of that certificate in"), std::string::npos)
      << server.status();
  close(listening);
}

}  // namespace
}  // namespace millrace::http
