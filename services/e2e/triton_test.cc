// Repositories made for Triton's FIL backend, served as they are: every answer follows from the
// library's own predictions of the same rows, bit for bit, in the form that FIL's clients expect.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "common/testing/triton_case.h"
#include "services/e2e/http_call.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

constexpr char kData[] = "kernels/testdata/";
constexpr size_t kRows = 8;  // max_batch_size of the smallest case

// The library's predictions of the first rows, as it stored them.
struct Reference {
  size_t features = 0, columns = 0;
  std::string rows;  // FP32
  std::vector<double> predictions;
};

template <typename T>
std::vector<double> Numbers(const std::string& bytes, size_t count) {
  std::vector<double> numbers(count);
  for (size_t i = 0; i < count; ++i) {
    T value;
    memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
    numbers[i] = value;
  }
  return numbers;
}

Reference ReferenceOf(const TritonCase& c) {
  const fs::path folder = kData / fs::path(c.files.begin()->second).parent_path();
  const auto facts = nlohmann::json::parse(ReadWhole(folder / "case.json"));
  Reference reference;
  reference.features = facts["features"];
  reference.columns = facts["prediction_columns"];
  reference.rows = ReadWhole(folder / "rows.bin").substr(0, kRows * reference.features * 4);
  const std::string bytes = ReadWhole(folder / "prediction.bin");
  const size_t count = kRows * reference.columns;
  reference.predictions = facts["prediction_dtype"] == "float64" ? Numbers<double>(bytes, count)
                                                                 : Numbers<float>(bytes, count);
  return reference;
}

// What FIL's own client would get.
std::vector<float> Expected(const TritonCase& c, const Reference& reference) {
  std::vector<float> expected;
  const double above =
      c.answers.rfind("above ", 0) == 0 ? strtof(c.answers.c_str() + 6, nullptr) : 0;
  for (size_t r = 0; r < kRows; ++r) {
    const double* row = reference.predictions.data() + r * reference.columns;
    const double* end = row + reference.columns;
    if (c.answers == "prediction") {
      for (const double* p = row; p < end; ++p) expected.push_back(static_cast<float>(*p));
    } else if (c.answers == "argmax") {
      expected.push_back(static_cast<float>(std::max_element(row, end) - row));
    } else if (c.answers == "both") {
      expected.push_back(static_cast<float>(1.0 - *row));
      expected.push_back(static_cast<float>(*row));
    } else {
      expected.push_back(static_cast<float>(*row) > above ? 1.0f : 0.0f);
    }
  }
  return expected;
}

// By the protocol's binary extension, so that missing numbers are sent as they are.
HttpAnswer Ask(Tree& tree, const TritonCase& c, const Reference& reference,
               const std::string& input, const std::string& output, int64_t labels = 0) {
  nlohmann::json head = {
      {"inputs",
       {{{"name", input},
         {"datatype", "FP32"},
         {"shape", {kRows, reference.features}},
         {"parameters", {{"binary_data_size", reference.rows.size()}}}}}},
      {"outputs", {{{"name", output}, {"parameters", {{"binary_data", labels == 0}}}}}}};
  if (labels > 0) head["outputs"][0]["parameters"]["classification"] = labels;
  const std::string text = head.dump();
  return HttpCall(tree.Address("http"), "/v2/models/" + c.name + "/infer", text + reference.rows,
                  "Inference-Header-Content-Length: " + std::to_string(text.size()) + "\r\n")
      .Finish();
}

class Triton : public ::testing::Test {
 protected:
  Triton() : root_(std::string(getenv("TEST_TMPDIR")) + "/triton_models") {
    fs::remove_all(root_);
    for (const TritonCase& c : TritonCorpus()) {
      if (c.serves.empty()) continue;
      served_.push_back(c);
      Write(c.name + "/config.pbtxt", c.text);
      for (const auto& [name, from] : c.files)
        Write(c.name + "/1/" + name, ReadWhole(kData + from));
      for (const auto& [name, text] : c.texts) Write(c.name + "/" + name, text);
    }
  }
  void Write(const std::string& path, std::string text) {
    const std::string name = "name: \"m\"";  // a case's folder has its own name here
    if (const size_t at = text.find("\n" + name); at != std::string::npos) {
      text.erase(at + 1, name.size());
    }
    fs::create_directories((fs::path(root_) / path).parent_path());
    std::ofstream(root_ + "/" + path, std::ios::binary) << text;
  }

  std::string root_;
  std::vector<TritonCase> served_;
};

TEST_F(Triton, WhatFilWouldAnswer) {
  ASSERT_GT(served_.size(), 15u);
  Tree::Options options;
  options.repository = root_;
  auto tree = Tree::Start(options);
  for (const TritonCase& c : served_) {
    SCOPED_TRACE(c.name);
    const Reference reference = ReferenceOf(c);
    const std::string output = c.serves.substr(0, c.serves.find(' '));
    const std::string input = output == "output__0" ? "input__0" : "input";
    const HttpAnswer answer = Ask(*tree, c, reference, input, output);
    ASSERT_EQ(answer.code, 200) << answer.body;
    const std::vector<float> expected = Expected(c, reference);
    const size_t bytes = expected.size() * sizeof(float);
    ASSERT_GT(answer.body.size(), bytes);
    const auto head =
        nlohmann::json::parse(answer.body.substr(0, answer.body.size() - bytes), nullptr, false);
    ASSERT_TRUE(head.is_object()) << answer.body;
    EXPECT_EQ(head["outputs"][0]["datatype"], "FP32");
    EXPECT_EQ(head["outputs"][0]["shape"], nlohmann::json({kRows, expected.size() / kRows}));
    std::vector<float> actual(expected.size());
    memcpy(actual.data(), answer.body.data() + answer.body.size() - bytes, bytes);
    EXPECT_EQ(actual, expected);
  }
  // Labels by the classification extension, as Triton's clients ask for them.
  const TritonCase& labelled =
      *std::find_if(served_.begin(), served_.end(),
                    [](const TritonCase& c) { return c.name == "fil_proba_many"; });
  const HttpAnswer answer =
      Ask(*tree, labelled, ReferenceOf(labelled), "input__0", "output__0", /*labels=*/1);
  ASSERT_EQ(answer.code, 200) << answer.body;
  const std::string first = answer.Json()["outputs"][0]["data"][0];
  EXPECT_EQ(first.size() - first.rfind(':'), 2u) << first;
  EXPECT_EQ(tree->Stop(), 0);
}

// Of a repository without manifests, whose files were copied long ago: it is served, and what is
// owed on it is said to who asks and to who wants to be told.
TEST_F(Triton, WhatIsOwedOnIt) {
  for (const auto& entry : fs::recursive_directory_iterator(root_)) {
    if (entry.is_regular_file()) {
      fs::last_write_time(entry, fs::file_time_type::clock::now() - std::chrono::hours(24 * 300));
    }
  }
  const int port = FreePort();
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_port = htons(static_cast<uint16_t>(port));
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  ASSERT_EQ(listen(listener, 8), 0);
  Tree::Options options;
  options.repository = root_;
  options.config =
      "registry: {max_age_days: 299, debt_webhook: \"http://127.0.0.1:" + std::to_string(port) +
      "/owners\"}\n";
  auto tree = Tree::Start(options);  // ready, though nobody answers the webhook
  const auto debt = [&](const std::vector<std::string>& flags, int* code) {
    std::vector<std::string> argv = {"tools/millrace/millrace", "debt",
                                     "--admin-socket=" + tree->admin_socket()};
    argv.insert(argv.end(), flags.begin(), flags.end());
    Child child(argv, true);
    const std::string output = child.Output();
    *code = child.Wait();
    return output;
  };
  int code = 0;
  const auto owed = nlohmann::json::parse(debt({"--json", "--fail"}, &code));
  EXPECT_EQ(code, 1);
  std::map<std::string, size_t> kinds;
  for (const auto& item : owed["debt"]) ++kinds[item["kind"].get<std::string>()];
  const size_t count = served_.size();
  for (const char* kind : {"old_weights", "untagged", "unsigned", "unpinned", "one_worker"}) {
    EXPECT_EQ(kinds[kind], count) << kind;
  }
  EXPECT_EQ(owed["versions"][0]["weights_age_days"], 300);
  EXPECT_EQ(owed["versions"][0]["read_only"], true);
  const std::string text = debt({"--max_age_days=400"}, &code);
  EXPECT_EQ(code, 0);
  EXPECT_NE(text.find("it has no manifest"), std::string::npos) << text;
  EXPECT_EQ(text.find("old_weights"), std::string::npos) << text;
  pollfd called = {listener, POLLIN, 0};
  ASSERT_EQ(poll(&called, 1, 60'000), 1) << "the webhook is not called";
  const int client = accept(listener, nullptr, nullptr);
  ASSERT_GE(client, 0);
  std::string notice(4096, '\0');
  const ssize_t size = read(client, notice.data(), notice.size());
  ASSERT_GT(size, 0);
  EXPECT_EQ(notice.rfind("POST /owners HTTP/1.1\r\n", 0), 0u);
  // It is not answered: a stop does not wait for that.
  EXPECT_EQ(tree->Stop(), 0);
  close(client);
  close(listener);
}

}  // namespace
}  // namespace millrace
