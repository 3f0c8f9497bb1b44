// The whole server without a device, and with one whose plug-in fails at each call in turn.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <fstream>

#include "services/e2e/device_rig.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

constexpr char kFake[] = "kernels/device/testing/libfake_plugin.so";
constexpr int kExitDevice = 72;

// The faults of the fake plug-in (kernels/device/testing/fake_plugin.cc), for every process.
class Faults {
 public:
  Faults() : path_(std::string(getenv("TEST_TMPDIR")) + "/faults") {
    setenv("MILLRACE_FAKE_DEVICE", path_.c_str(), 1);
    Set("");
    std::ofstream(path_ + ".log");
  }
  void Set(const std::string& faults) { std::ofstream(path_) << faults << "\n"; }
  std::string Log() const {
    std::ifstream file(path_ + ".log");
    return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }

 private:
  std::string path_;
};

std::string StatusText(Tree& tree) {
  return Child({"tools/millrace/millrace", "status", "--admin-socket=" + tree.admin_socket()}, true)
      .Output();
}

TEST(Device, WithoutAPlugInTheServerServesFromTheCpuAndSaysWhy) {
  auto tree = Tree::Start(WithPlugin("/no/such/plugin.so"));
  EXPECT_EQ(DeviceOf(*tree)["state"], "no_library");
  EXPECT_EQ(DeviceOf(*tree)["device"], "");
  EXPECT_THAT(StatusText(*tree), HasSubstr("/no/such/plugin.so; serving from the CPU"));
  ExpectServesRight(*tree);
  EXPECT_EQ(ExecutionCounter(*tree, "device_batches"), 0u);
  EXPECT_EQ(tree->Stop(), 0);
}

// Whatever this machine has: the plug-in beside the program or none, a driver or none.
TEST(Device, AsBuiltTheServerServesAndSaysWhatItHas) {
  auto tree = Tree::Start({});
  const nlohmann::json device = DeviceOf(*tree);
  const bool ready = device["state"] == "ready";
  EXPECT_EQ(device["why_not"] == "", ready) << device.dump();
  ExpectServesRight(*tree);
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Device, WhereADeviceIsDemandedItsLackEndsTheStart) {
  Tree tree(WithPlugin("/no/such/plugin.so", "  device: cuda\n"));
  EXPECT_EQ(tree.keeper().Wait(), kExitDevice);
  Faults faults;
  faults.Set("start 1");
  Tree driverless(WithPlugin(kFake, "  device: cuda\n"));
  EXPECT_EQ(driverless.keeper().Wait(), kExitDevice);
}

TEST(Device, BatchesRunThereAndStatusSaysSo) {
  Faults faults;
  auto tree = Tree::Start(WithPlugin(kFake, "  device: cuda\n"));
  EXPECT_EQ(DeviceOf(*tree)["state"], "ready");
  ExpectServesRight(*tree);
  EXPECT_GT(ExecutionCounter(*tree, "device_batches"), 20u);
  EXPECT_EQ(ExecutionCounter(*tree, "device_fell_back"), 0u);
  const std::string text = StatusText(*tree);
  EXPECT_THAT(text, HasSubstr("execution0: cpu-"));
  EXPECT_THAT(text, HasSubstr("; cuda Fake device 0 (sm_90"));
  EXPECT_THAT(text, HasSubstr("  digits 1: cuda from 1 rows on, as configured; "));
  // Arenas of ingress (two lanes) and features; those of a dead peer are let go.
  EXPECT_THAT(faults.Log(), HasSubstr(" register "));
  EXPECT_EQ(faults.Log().find("unregister"), std::string::npos);
  tree->Hurt("features0", SIGKILL);
  tree->WaitUntil("the dead worker's arena is let go",
                  [&] { return faults.Log().find("unregister") != std::string::npos; });
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Device, ModelsAreMeasuredAndStatusShowsIt) {
  Faults faults;
  auto tree = Tree::Start(WithPlugin(kFake, "  device_from_rows: 0\n"));
  const nlohmann::json kernels = tree->Process("execution0")["kernels"];
  ASSERT_EQ(kernels.size(), 4u) << kernels.dump();
  for (const auto& kernel : kernels) {
    EXPECT_EQ(kernel["why_not"], "") << kernel.dump();
    EXPECT_GE(kernel["buckets"].size(), 6u) << kernel.dump();
    EXPECT_EQ(kernel["device_bytes"], 4321);
  }
  EXPECT_THAT(StatusText(*tree), HasSubstr("  digits 1: rows 1: cpu "));
  ExpectServesRight(*tree);
  EXPECT_EQ(tree->Stop(), 0);
}

// Each call of the plug-in answers each code, but for kLost (below); its worker is started anew for
// each. Every request is answered, with the right bits.
TEST(Device, EachCallFailsInTurnAndEveryRequestIsAnsweredRight) {
  Faults faults;
  auto tree = Tree::Start(WithPlugin(kFake));
  struct Case {
    const char* fault;
    const char* state;  // of the device then
    bool on_device;     // whether it runs batches
    bool falls_back;
  };
  const Case cases[] = {
      {"symbol 1", "no_symbol", false, false}, {"abi 1", "other_build", false, false},
      {"start 1", "no_driver", false, false},  {"start 2", "old_driver", false, false},
      {"start 3", "no_device", false, false},  {"start 4", "failed", false, false},
      {"start 5", "failed", false, false},     {"start 6", "failed", false, false},
      {"start 7", "failed", false, false},     {"register 4", "ready", true, false},
      {"register 5", "ready", true, false},    {"register 6", "ready", true, false},
      {"open 4", "ready", false, false},       {"open 5", "ready", false, false},
      {"open 6", "ready", false, false},       {"open 6 2 1", "ready", true, false},
      {"run 4", "ready", true, true},          {"run 5", "ready", true, true},
      {"run 6", "ready", true, true},          {"run 1", "ready", true, true},
      {"run 99", "ready", true, true}};
  for (const Case& c : cases) {
    faults.Set(c.fault);
    tree->Hurt("execution0", SIGKILL);
    EXPECT_EQ(DeviceOf(*tree)["state"], c.state) << c.fault;
    ExpectServesRight(*tree, 16);
    EXPECT_EQ(ExecutionCounter(*tree, "device_batches") > 0, c.on_device) << c.fault;
    EXPECT_EQ(ExecutionCounter(*tree, "device_fell_back") > 0, c.falls_back) << c.fault;
    if (std::string(c.state) != "ready") {
      EXPECT_THAT(StatusText(*tree), HasSubstr("; serving from the CPU")) << c.fault;
    } else if (!c.on_device) {
      EXPECT_THAT(StatusText(*tree), HasSubstr("the device does not take it")) << c.fault;
    }
  }
  // What was killed is all that died.
  EXPECT_EQ(tree->Status()["deaths"], std::size(cases));
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Device, OutOfMemoryHalvesAndBothAreCounted) {
  Faults faults;
  faults.Set("run 6 1 1\nrun 6 4");
  Tree::Options options = WithPlugin(kFake);
  options.config += "ingress: {probe_period_ms: 0}\n";  // golden requests run, too
  auto tree = Tree::Start(options);
  const nlohmann::json report =
      GoldenLoad(*tree, "digits", false,
                 {"--requests=3", "--duration_ms=0", "--in_flight=1", "--rows_per_request=50"})
          .Report();
  EXPECT_EQ(report["answered"], 3) << report.dump();
  // Run 1 fails, 2 and 3 are its halves; 4 and 5 fail: the CPU; 6 and 7 likewise.
  EXPECT_EQ(ExecutionCounter(*tree, "device_batches"), 3u);
  EXPECT_EQ(ExecutionCounter(*tree, "device_halved"), 3u);
  EXPECT_EQ(ExecutionCounter(*tree, "device_fell_back"), 2u);
  EXPECT_THAT(StatusText(*tree), HasSubstr("batches on the device 3; out of device memory and "
                                           "halved 3; ended on the CPU 2"));
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Device, LostWhileItRuns) {
  for (const char* fault : {"run 7", "run 7 9"}) {
    Faults faults;
    faults.Set(fault);
    auto tree = Tree::Start(WithPlugin(kFake));
    ExpectOutlivesLostDevices(*tree);
    EXPECT_EQ(tree->Stop(), 0);
  }
}

TEST(Device, LostBeforeItServes) {
  // Measuring runs too.
  const std::pair<const char*, const char*> cases[] = {
      {"register 7", ""}, {"open 7", ""}, {"run 7", "  device_from_rows: 0\n"}};
  for (const auto& [fault, more] : cases) {
    Faults faults;
    faults.Set(fault);
    auto tree = Tree::Start(WithPlugin(kFake, more));
    tree->WaitUntil("it was lost three times", [&] {
      const nlohmann::json process = tree->Process("execution0");
      return process.is_object() && process["state"] == "ready" && process["device_losses"] == 3;
    });
    ExpectOutlivesLostDevices(*tree);
    EXPECT_EQ(tree->Stop(), 0);
  }
}

TEST(Device, AfterOneLossItIsTriedAgain) {
  Faults faults;
  // Late enough that the fault is taken back before the next incarnation comes to it.
  faults.Set("run 7 2000");
  auto tree = Tree::Start(WithPlugin(kFake));
  GoldenLoad load(*tree, "randhie", true, {"--in_flight=8", "--duration_ms=0"});
  tree->WaitUntil("a device is lost", [&] {
    return tree->Process("execution0").is_object() &&
           tree->Process("execution0")["device_losses"] > 0;
  });
  faults.Set("");
  tree->WaitUntil("the device is used again", [&] {
    return DeviceOf(*tree).is_object() && DeviceOf(*tree)["state"] == "ready" &&
           ExecutionCounter(*tree, "device_batches") > 100;
  });
  const nlohmann::json report = load.End();
  EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
  EXPECT_EQ(report["mismatched"], 0) << report.dump();
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
