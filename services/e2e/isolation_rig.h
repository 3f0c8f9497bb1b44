// Clients that ask the same again and again while a test does its worst to a server.
//
// Purpose: whatever is done beside them, every answer is the first one, bit by bit.
// Who may call: the test's thread. Ownership: the repository and the clients go with their objects.
// What fails: the test.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "services/e2e/http_call.h"
#include "services/e2e/tree.h"

namespace millrace {

inline constexpr size_t kCategoricalColumns = 6;
inline constexpr char kCategorical[] = "kernels/testdata/lgb47_categorical/";

inline std::string ReadWhole(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The demo's models, and one with categories. What is written there later is bad.
class Models {
 public:
  Models() {
    const char* const temp = getenv("TEST_TMPDIR");
    root_ = std::string(temp == nullptr ? "/tmp" : temp) + "/isolation";
    std::filesystem::remove_all(root_);
    std::filesystem::copy("deploy/demo/models", root_, std::filesystem::copy_options::recursive);
    Write("categories/config.pbtxt", "backend: \"lightgbm\"\nmax_batch_size: 4096\n");
    Write("categories/1/model.txt", ReadWhole(std::string(kCategorical) + "model.txt"));
  }
  ~Models() { std::filesystem::remove_all(root_); }
  const std::string& root() const { return root_; }
  void Write(const std::string& path, const std::string& bytes) const {
    std::filesystem::create_directories(std::filesystem::path(root_ + "/" + path).parent_path());
    std::ofstream(root_ + "/" + path, std::ios::binary) << bytes;
  }
  std::string Read(const std::string& path) const { return ReadWhole(root_ + "/" + path); }

 private:
  std::string root_;
};

// A request by the protocol's binary extension: whatever bytes, and what is said of them.
struct Binary {
  std::string model, bytes;
  nlohmann::json shape;
  std::string datatype = "FP32", output = "prediction";
  int64_t said_bytes = -1;  // -1: as many as there are
};

inline HttpCall Begin(const std::string& address, const Binary& request) {
  const int64_t said =
      request.said_bytes < 0 ? static_cast<int64_t>(request.bytes.size()) : request.said_bytes;
  const nlohmann::json head = {
      {"inputs",
       {{{"name", "input"},
         {"datatype", request.datatype},
         {"shape", request.shape},
         {"parameters", {{"binary_data_size", said}}}}}},
      {"outputs", {{{"name", request.output}, {"parameters", {{"binary_data", true}}}}}}};
  const std::string text = head.dump();
  return HttpCall(address, "/v2/models/" + request.model + "/infer", text + request.bytes,
                  "Inference-Header-Content-Length: " + std::to_string(text.size()) + "\r\n");
}

template <typename T>
std::string Repeated(T value, size_t count) {
  std::string bytes(count * sizeof value, '\0');
  for (size_t i = 0; i < count; ++i) memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
  return bytes;
}

// Asks the same again and again; every answer must be the first one, bit by bit.
class Victim {
 public:
  Victim(const std::string& address, const Binary& request)
      : address_(address), request_(request), first_(Ask()) {
    EXPECT_NE(first_, "");
    thread_ = std::thread([this] {
      while (!end_) {
        const std::string answer = Ask();
        if (answer != first_) ++changed_;
        ++asked_;
      }
    });
  }
  ~Victim() { End(); }
  uint64_t asked() const { return asked_; }
  // With what differed.
  uint64_t End() {
    end_ = true;
    if (thread_.joinable()) thread_.join();
    return changed_;
  }
  const std::string& answer() const { return first_; }

 private:
  // The outputs' bytes; empty: it was not answered.
  std::string Ask() const {
    const HttpAnswer answer = Begin(address_, request_).Finish();
    if (answer.code != 200) return "";
    const size_t at = answer.body.find("]}");
    return at == std::string::npos ? "" : answer.body.substr(at + 2);
  }

  const std::string address_;
  const Binary request_;
  const std::string first_;
  std::atomic<bool> end_{false};
  std::atomic<uint64_t> asked_{0}, changed_{0};
  std::thread thread_;
};

// Clients of every model while a test does its worst: golden requests, compared by the load
// generator, and one of each kind of model whose answers are compared here.
class Victims {
 public:
  explicit Victims(Tree& tree) : tree_(tree) {
    for (const char* model : {"breast_cancer", "digits"}) {
      golden_.push_back(std::make_unique<GoldenLoad>(
          tree, model, false, std::vector<std::string>{"--in_flight=16", "--duration_ms=0"}));
    }
    const std::string rows = ReadWhole(std::string(kCategorical) + "rows.bin");
    const Binary request = {
        "categories", rows, {rows.size() / 4 / kCategoricalColumns, kCategoricalColumns}};
    same_.push_back(std::make_unique<Victim>(tree.Address("http"), request));
    // What the library said when it was trained.
    EXPECT_EQ(same_[0]->answer(), ReadWhole(std::string(kCategorical) + "prediction.bin"));
    for (const auto& [model, columns] :
         std::map<std::string, size_t>{{"breast_cancer", 30}, {"digits", 64}}) {
      same_.push_back(std::make_unique<Victim>(
          tree.Address("http"), Binary{model, Repeated(1.5f, 3 * columns), {3, columns}}));
    }
  }
  // Waits until each has asked so many more.
  void Meet(uint64_t count) {
    for (const auto& victim : same_) {
      const uint64_t until = victim->asked() + count;
      tree_.WaitUntil("the others are served", [&] { return victim->asked() >= until; });
    }
  }
  void ExpectUntouched() {
    for (const auto& victim : same_) {
      EXPECT_EQ(victim->End(), 0u);
      EXPECT_GT(victim->asked(), 0u);
    }
    for (const auto& load : golden_) {
      const nlohmann::json report = load->End();
      EXPECT_GT(report["sent"], 100) << report.dump();
      EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
      EXPECT_EQ(report["mismatched"], 0) << report.dump();
      EXPECT_EQ(report["failed"], 0) << report.dump();
    }
    EXPECT_EQ(tree_.Status()["deaths"], 0);
    EXPECT_EQ(tree_.Status()["faults"], 0);
  }

 private:
  Tree& tree_;
  std::vector<std::unique_ptr<GoldenLoad>> golden_;
  std::vector<std::unique_ptr<Victim>> same_;
};

}  // namespace millrace
