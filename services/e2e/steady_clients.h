// Clients of every kind that run beside what a test does to a server.
//
// Purpose: tests that change a whole tree under load show that no client noticed.
// Who may call: one test's thread. What fails: the test.
#pragma once

#include <gtest/gtest.h>
#include <stdio.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "services/e2e/tree.h"

namespace millrace {

// Over gRPC, HTTP and shared memory, until they are told to end.
class Clients {
 public:
  explicit Clients(Tree& tree) {
    for (const std::string listener : {"grpc", "http", "local"}) {
      loads_.push_back(std::make_unique<GoldenLoad>(
          tree, listener == "http" ? "breast_cancer" : "randhie", listener != "http",
          std::vector<std::string>{"--in_flight=8", "--duration_ms=0"}, listener));
    }
    tree.WaitUntil("every load runs", [&] {
      const nlohmann::json ingress = tree.Process("ingress0");
      if (!ingress.is_object() || ingress["lanes"].size() != 3) return false;
      return std::all_of(ingress["lanes"].begin(), ingress["lanes"].end(), [](const auto& lane) {
        return lane["counters"].value("answered", 0) > 100;
      });
    });
  }
  void ExpectAllAnswered() {
    for (const auto& load : loads_) {
      const nlohmann::json report = load->End();
      ASSERT_TRUE(report.is_object());
      fprintf(stderr, "sent: %s\n", report["sent"].dump().c_str());
      EXPECT_GT(report["sent"].get<int64_t>(), 300) << report.dump();
      EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
      EXPECT_EQ(report["mismatched"], 0) << report.dump();
      EXPECT_EQ(report["failed"], 0) << report.dump();
    }
  }

 private:
  std::vector<std::unique_ptr<GoldenLoad>> loads_;
};

inline void ExpectServed(Tree& tree) {
  for (const std::string listener : {"grpc", "http", "local"}) {
    const nlohmann::json report =
        GoldenLoad(tree, "breast_cancer", false, {"--requests=100", "--duration_ms=0"}, listener)
            .Report();
    EXPECT_EQ(report["answered"], 100) << listener << report.dump();
  }
}

}  // namespace millrace
