// Keys and certificates on a whole server, shown by the command that users have.
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <string>

#include "common/check.h"
#include "common/testing/certificates_for_test.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

struct Ran {
  int code = -1;
  std::string said;  // on both streams
};

// `environment`: "NAME=value" or nothing.
Ran Command(const std::string& words, const std::string& environment = "MILLRACE_API_KEY=") {
  const std::string command = environment + " tools/millrace/millrace " + words + " 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  MR_CHECK(pipe != nullptr, "a shell for the test");
  Ran ran;
  char buffer[4096];
  size_t bytes;
  while ((bytes = fread(buffer, 1, sizeof buffer, pipe)) > 0) ran.said.append(buffer, bytes);
  const int status = pclose(pipe);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ran;
}

// A key, and its entry in the key file.
struct Key {
  explicit Key(const std::string& name) {
    const Ran made = Command("key new " + name + " --scopes infer,metrics");
    MR_CHECK(made.code == 0, "a fresh key");
    text = made.said.substr(0, made.said.find('\n'));
    entry = made.said.substr(made.said.find("\n\n") + 2);
  }
  std::string text, entry;
};

class AccessTest : public testing::Test {
 protected:
  AccessTest() {
    const TestIdentity server = authority_.Issue("server");
    ca_ = WriteTestFile("ca.pem", authority_.certificate());
    Tree::Options options;
    options.config = "ingress: {keys_file: " + WriteTestFile("keys.yaml", "keys:\n" + key_.entry) +
                     ", tls_certificate: " + WriteTestFile("server.pem", server.certificate) +
                     ", tls_key: " + WriteTestFile("server.key", server.key) +
                     ", tls_client_ca: " + ca_ + "}\n";
    tree_ = Tree::Start(options);
    trusted_ = Certificate(authority_, "client");
  }

  static std::string Certificate(const TestAuthority& authority, const std::string& name) {
    const TestIdentity identity = authority.Issue(name);
    return " --tls-cert " + WriteTestFile(name + ".pem", identity.certificate) + " --tls-key " +
           WriteTestFile(name + ".key", identity.key);
  }

  std::string Verify(const std::string& listener) {
    return "verify breast_cancer --rows deploy/demo/golden/breast_cancer/rows.csv --expect "
           "deploy/demo/golden/breast_cancer/expect.csv --timeout 30 --" +
           listener + " " + tree_->Address(listener);
  }
  std::string Load(const std::string& listener) {
    return "load breast_cancer --requests 50 --in-flight 4 --" + listener + " " +
           tree_->Address(listener);
  }

  const TestAuthority authority_{"the authority"};
  const Key key_{"e2e"};
  std::string ca_, trusted_;
  std::unique_ptr<Tree> tree_;
};

TEST_F(AccessTest, WhoHasKeyAndCertificateIsAnsweredAndNobodyElse) {
  const std::string key = "MILLRACE_API_KEY=" + key_.text;
  const std::string tls = " --tls-ca " + ca_ + trusted_;
  const TestAuthority stranger("the authority");
  const std::string other = Certificate(stranger, "stranger");
  const std::string other_ca = WriteTestFile("other_ca.pem", stranger.certificate());
  for (const std::string listener : {"grpc", "http"}) {
    SCOPED_TRACE(listener);
    const std::string verify = Verify(listener), load = Load(listener);
    // By the environment and by the flag.
    Ran ran = Command(verify + tls, key);
    EXPECT_EQ(ran.code, 0) << ran.said;
    ran = Command(load + tls + " --api-key " + key_.text);
    EXPECT_EQ(ran.code, 0) << ran.said;
    // Another key, and none: asked, and told why not.
    for (const char* wrong : {" --api-key mr_0123", ""}) {
      ran = Command(verify + tls + wrong);
      EXPECT_EQ(ran.code, 2) << ran.said;
      EXPECT_NE(ran.said.find("key"), std::string::npos) << ran.said;
      EXPECT_EQ(ran.said.find("mr_0123"), std::string::npos) << "a key is in no sentence";
      EXPECT_EQ(Command(load + tls + wrong).code, 1);
    }
    // No certificate, one of somebody else's, no TLS at all: the right key does not help.
    EXPECT_EQ(Command(verify + " --tls-ca " + ca_, key).code, 2);
    EXPECT_EQ(Command(load + " --tls-ca " + ca_, key).code, 3);
    EXPECT_EQ(Command(verify + " --tls-ca " + ca_ + other, key).code, 2);
    EXPECT_EQ(Command(verify, key).code, 2);
    // A server that the client does not trust learns no key.
    EXPECT_EQ(Command(verify + " --tls-ca " + other_ca + trusted_, key).code, 2);
    // The server is none the worse for it.
    EXPECT_EQ(Command(verify + tls, key).code, 0);
  }
  EXPECT_EQ(tree_->Stop(), 0);
}

TEST_F(AccessTest, FlagsThatDoNotFitAreToldBeforeAnybodyIsAsked) {
  const std::string verify = Verify("grpc");
  const auto refuses = [&](const std::string& flags, const char* sentence) {
    const Ran ran = Command(verify + flags);
    EXPECT_EQ(ran.code, 2) << flags;
    EXPECT_NE(ran.said.find(sentence), std::string::npos) << flags << ": " << ran.said;
  };
  refuses(" --tls-ca /no/such/file", "--tls-ca: /no/such/file cannot be read");
  refuses(" --tls-ca " + WriteTestFile("nonsense", "no PEM at all"), "--tls-ca: ");
  refuses(" --tls-ca " + ca_ + " --tls-cert " + ca_, "--tls-cert and --tls-key: both or neither");
  refuses(" --tls-ca " + ca_ + " --tls-cert " + ca_ + " --tls-key " + ca_, "--tls-key: ");
  refuses(trusted_, "--tls-cert: needs --tls-ca");
  refuses(" --api-key 'two words'", "--api-key: must be printable");
}

}  // namespace
}  // namespace millrace
