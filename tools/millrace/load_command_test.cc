// `millrace load` as its users run it, beside a server that does what it is told: exit codes,
// what goes where, the JSON.
#include <stdlib.h>
#include <sys/wait.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "gtest/gtest.h"
#include "tools/load/testing/fake_model.h"

namespace millrace {
namespace {

class LoadCommandTest : public testing::Test {
 protected:
  LoadCommandTest() : folder_(testing::TempDir() + "/load_command") {
    std::filesystem::create_directories(folder_);
    Put("rows.csv", "a,b\n1,2\n3,4\n");
    Put("expect.csv", "y\n3\n7\n");
  }

  void Put(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name) << text;
  }
  std::string Get(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(folder_ + "/" + name).rdbuf();
    return text.str();
  }
  std::string File(const std::string& name) const { return folder_ + "/" + name; }

  // The exit code; leaves what it said in `out_` and `err_`.
  int Load(const std::string& flags) {
    const std::string command = "tools/millrace/millrace load " + flags + " >" + File("out") +
                                " 2>" + File("err") + " </dev/null";
    const int status = system(command.c_str());
    out_ = Get("out");
    err_ = Get("err");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  std::string Golden() const {
    return " --rows " + File("rows.csv") + " --expect " + File("expect.csv");
  }

  std::string folder_, out_, err_;
  std::atomic<Behaviour> behaviour_ = Behaviour::kSum;
  FakeModel model_{[this](int64_t) { return behaviour_.load(); }};
};

TEST_F(LoadCommandTest, GoodAnswersAreZero) {
  for (const std::string& where : {" --grpc " + model_.grpc(), " --http " + model_.http()}) {
    const int64_t before = model_.calls();
    EXPECT_EQ(Load("sum" + where + Golden() + " --in-flight 1,3 --requests 20"), 0) << err_;
    EXPECT_EQ(model_.calls() - before, 40);
    EXPECT_EQ(err_, "") << "no progress bar where there is no terminal";
    EXPECT_NE(out_.find("1 in flight"), std::string::npos) << out_;
    EXPECT_NE(out_.find("3 in flight"), std::string::npos) << out_;
    EXPECT_NE(out_.find("answers compared with the expected ones"), std::string::npos) << out_;
  }
}

TEST_F(LoadCommandTest, RequestsAreMadeUpFromTheMetadata) {
  for (const std::string& where : {" --grpc " + model_.grpc(), " --http " + model_.http()}) {
    EXPECT_EQ(Load("sum" + where + " --requests 10 --rows-per-request 3"), 0) << err_;
    EXPECT_NE(out_.find("3 rows a request (made up)"), std::string::npos) << out_;
  }
}

TEST_F(LoadCommandTest, ASweepOfRatesIsInTheJson) {
  EXPECT_EQ(Load("sum --grpc " + model_.grpc() +
                 " --rate 500,1000 --arrivals constant --requests 40"
                 " --json " +
                 File("figures.json")),
            0)
      << err_;
  const auto json = nlohmann::json::parse(Get("figures.json"), nullptr, false);
  ASSERT_TRUE(json.is_object());
  ASSERT_EQ(json["points"].size(), 2U);
  EXPECT_EQ(json["points"][0]["rate_per_s"], 500);
  EXPECT_EQ(json["points"][1]["rate_per_s"], 1000);
  EXPECT_EQ(json["points"][1]["answered"], 40);
  EXPECT_EQ(json["points"][1]["latency_us"]["count"], 40);
  EXPECT_EQ(Load("sum --grpc " + model_.grpc() + " --requests 5 --json -"), 0);
  EXPECT_EQ(nlohmann::json::parse(out_, nullptr, false)["loop"], "closed")
      << "stdout is JSON alone";
}

TEST_F(LoadCommandTest, ErrorsBeyondTheRateAreOne) {
  const std::string load = "sum --grpc " + model_.grpc() + Golden() + " --requests 10";
  behaviour_ = Behaviour::kWrong;
  EXPECT_EQ(Load(load), 1);
  EXPECT_NE(out_.find("10 answers with other bytes than expected"), std::string::npos) << out_;
  EXPECT_EQ(Load(load + " --max-error-rate 1"), 0);
  behaviour_ = Behaviour::kBadRequest;
  EXPECT_EQ(Load(load + " --max-error-rate 0.5"), 1);
  EXPECT_NE(out_.find("10 x INVALID_ARGUMENT: not so"), std::string::npos) << out_;
}

TEST_F(LoadCommandTest, UsageIsTwo) {
  const std::string server = " --grpc " + model_.grpc() + " --requests 1 ";
  for (const std::string& flags :
       {"sum --no-such-flag" + server, std::string("--requests 1"),
        "sum --rate 1 --in-flight 1" + server, "sum --rate 1,x" + server,
        "sum --in-flight 0" + server, "sum --max-in-flight 3" + server,
        "sum --expect " + File("expect.csv") + server, "sum --rows /no/such/file" + server,
        "sum --shape z:1" + server, "other" + server, "sum --max-error-rate 2" + server,
        "sum --http " + model_.http() + " --connections 2",
        "sum --rows " + File("expect.csv") + server}) {
    EXPECT_EQ(Load(flags), 2) << flags << "\n" << out_;
    EXPECT_NE(err_, "") << flags;
  }
  EXPECT_EQ(model_.calls(), 0);
}

TEST_F(LoadCommandTest, NoServerIsThree) {
  EXPECT_EQ(Load("sum --grpc unix:/no/such/socket --requests 1"), 3);
  EXPECT_NE(err_, "");
  EXPECT_EQ(Load("sum --http unix:/no/such/socket --requests 1"), 3);
}

}  // namespace
}  // namespace millrace
