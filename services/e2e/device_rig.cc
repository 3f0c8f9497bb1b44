#include "services/e2e/device_rig.h"

#include <gtest/gtest.h>

namespace millrace {

Tree::Options WithPlugin(const std::string& path, const std::string& more) {
  Tree::Options options;
  // Absolute: the processes of the tree look it up by themselves.
  const bool absolute = !path.empty() && path[0] == '/';
  char* here = realpath(".", nullptr);
  const std::string whole = absolute ? path : std::string(here) + "/" + path;
  free(here);
  options.config =
      "execution:\n  device_library: " + whole + "\n" +
      (more.find("device_from_rows") == std::string::npos ? "  device_from_rows: 1\n" : "") + more;
  return options;
}

nlohmann::json DeviceOf(Tree& tree) {
  const nlohmann::json process = tree.Process("execution0");
  return process.is_object() ? process["device"] : nlohmann::json();
}

uint64_t ExecutionCounter(Tree& tree, const std::string& name) {
  const nlohmann::json process = tree.Process("execution0");
  return process.is_object() ? process["counters"].value(name, uint64_t{0}) : 0;
}

void ExpectServesRight(Tree& tree, int requests) {
  const auto expect = [&](const char* model, bool raw, const std::string& rows) {
    const nlohmann::json report =
        GoldenLoad(tree, model, raw,
                   {"--requests=" + std::to_string(requests), "--duration_ms=0", "--in_flight=8",
                    "--rows_per_request=" + rows})
            .Report();
    ASSERT_TRUE(report.is_object()) << model;
    EXPECT_EQ(report["answered"], requests) << model << report.dump();
    EXPECT_EQ(report["mismatched"], 0) << model << report.dump();
  };
  expect("breast_cancer", false, "1");
  expect("digits", false, "7");
  expect("randhie", true, "1");
}

void ExpectOutlivesLostDevices(Tree& tree) {
  for (int round = 0; round < 10; ++round) {
    ExpectServesRight(tree, 60);
    const nlohmann::json process = tree.Process("execution0");
    if (process.is_object() && process["device_losses"] == 3) break;
  }
  tree.WaitUntil("the worker serves without its device", [&] {
    const nlohmann::json device = DeviceOf(tree);
    return device.is_object() && device["state"] == "failed";
  });
  EXPECT_EQ(DeviceOf(tree)["why_not"],
            "the device was lost several times in a row; serving from the CPU");
  EXPECT_GE(tree.Status()["deaths"].get<int>(), 3);
  EXPECT_EQ(tree.Process("ingress0")["counters"].value("poisoned", 0), 0);
  const uint64_t deaths = tree.Status()["deaths"];
  ExpectServesRight(tree);
  EXPECT_EQ(tree.Status()["deaths"], deaths);
}

}  // namespace millrace
