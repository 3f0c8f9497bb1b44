// A runtime in which each call fails in turn: the right code, no crash, no leak, and a model that
// goes on where the device is well.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/cuda/testing/plugin_driver.h"
#include "kernels/simt/cuda.h"
#include "kernels/simt/faults.h"

namespace millrace::cuda {
namespace {

const ForestSpec kSpec = {.features = 300, .trees = 5, .depth = 2};

// What the functions said, in their order; the first that is not kOk ends a part of the story.
struct Story {
  std::vector<DeviceCode> codes;
  std::vector<std::string> sentences;
  bool wrong_margins = false;

  DeviceCode Add(DeviceCode code, const DeviceError& error) {
    codes.push_back(code);
    sentences.push_back(error.sentence);
    return code;
  }
  DeviceCode First() const {
    for (const DeviceCode code : codes) {
      if (code != DeviceCode::kOk) return code;
    }
    return DeviceCode::kOk;
  }
  std::string Sentence() const {
    for (size_t i = 0; i < codes.size(); ++i) {
      if (codes[i] != DeviceCode::kOk) return sentences[i];
    }
    return "";
  }
};

// All that a host does, with each way of bringing rows. What fails is asked for once more.
Story Tell() {
  Story story;
  Driver driver(kSpec, 20, 16'000);
  DeviceInfo info;
  for (int attempt = 0; attempt < 2; ++attempt) {
    const DeviceCode code = story.Add(driver.plugin.start(0, &info, &driver.error), driver.error);
    if (code == DeviceCode::kOk) break;
    if (code == DeviceCode::kLost || attempt == 1) return story;
  }
  const bool registered = story.Add(driver.Register(), driver.error) == DeviceCode::kOk;
  for (int attempt = 0; attempt < 2 && driver.model == nullptr; ++attempt) {
    if (story.Add(driver.Open(), driver.error) == DeviceCode::kLost) break;
  }
  for (const size_t n : {1, 2, 9, 20}) {
    for (int attempt = 0; attempt < 2 && driver.model != nullptr; ++attempt) {
      const DeviceCode code = story.Add(driver.Run(n, 9), driver.error);
      if (code == DeviceCode::kLost) {
        driver.Close();
      } else if (code == DeviceCode::kOk) {
        story.wrong_margins |= !driver.Right();
        break;
      }
    }
  }
  driver.Close();
  if (registered) driver.Unregister();
  return story;
}

uint64_t CallsOfAGoodStory() {
  simt::Faults::Reset();
  const Story story = Tell();
  EXPECT_EQ(story.First(), DeviceCode::kOk) << story.Sentence();
  EXPECT_FALSE(story.wrong_margins);
  return simt::Faults::Calls();
}

TEST(PluginFaults, OutOfMemoryAtEachCall) {
  const uint64_t calls = CallsOfAGoodStory();
  ASSERT_GT(calls, 60u);
  int reported = 0;
  for (uint64_t call = 1; call <= calls; ++call) {
    SCOPED_TRACE("call " + std::to_string(call));
    simt::Faults::Reset();
    simt::Faults::FailCall(call, cudaErrorMemoryAllocation);
    const Story story = Tell();
    EXPECT_FALSE(story.wrong_margins);
    for (const DeviceCode code : story.codes) {
      EXPECT_TRUE(code == DeviceCode::kOk || code == DeviceCode::kOutOfMemory) << story.Sentence();
    }
    EXPECT_EQ(story.codes.back(), DeviceCode::kOk) << "the device is well: " << story.Sentence();
    if (story.First() != DeviceCode::kOk) {
      ++reported;
      EXPECT_NE(story.Sentence().find("out of memory"), std::string::npos) << story.Sentence();
    }
  }
  // The rest are calls of which nobody needs the answer: those that give back.
  EXPECT_GT(reported, static_cast<int>(calls) / 2);
}

TEST(PluginFaults, AStickyErrorAtEachCall) {
  const uint64_t calls = CallsOfAGoodStory();
  int reported = 0;
  for (uint64_t call = 1; call <= calls; ++call) {
    SCOPED_TRACE("call " + std::to_string(call));
    simt::Faults::Reset();
    simt::Faults::FailCall(call, cudaErrorIllegalAddress);
    const Story story = Tell();
    EXPECT_FALSE(story.wrong_margins);
    const DeviceCode first = story.First();
    EXPECT_TRUE(first == DeviceCode::kOk || first == DeviceCode::kLost) << story.Sentence();
    if (first == DeviceCode::kLost) {
      ++reported;
      EXPECT_NE(story.Sentence().find("(700, cudaErrorIllegalAddress)"), std::string::npos)
          << story.Sentence();
    }
  }
  EXPECT_GT(reported, static_cast<int>(calls) / 2);
}

TEST(PluginFaults, AnyOtherErrorAtEachCall) {
  const uint64_t calls = CallsOfAGoodStory();
  for (uint64_t call = 1; call <= calls; ++call) {
    SCOPED_TRACE("call " + std::to_string(call));
    simt::Faults::Reset();
    simt::Faults::FailCall(call, cudaErrorInvalidValue);
    const Story story = Tell();
    EXPECT_FALSE(story.wrong_margins);
    const DeviceCode first = story.First();
    EXPECT_TRUE(first == DeviceCode::kOk || first == DeviceCode::kUnsupported) << story.Sentence();
    EXPECT_EQ(story.codes.back(), DeviceCode::kOk) << story.Sentence();
  }
}

// An error of a kernel shows at whatever waits next.
TEST(PluginFaults, EachKernelFailsInTurn) {
  simt::Faults::Reset();
  ASSERT_EQ(Tell().First(), DeviceCode::kOk);
  const uint64_t kernels = simt::Faults::Calls("cudaGraphLaunch");
  ASSERT_GT(kernels, 4u);
  for (uint64_t kernel = 1; kernel <= kernels; ++kernel) {
    SCOPED_TRACE("kernel " + std::to_string(kernel));
    simt::Faults::Reset();
    simt::Faults::Parse("kernel#" + std::to_string(kernel) + "=719");
    const Story story = Tell();
    EXPECT_EQ(story.First(), DeviceCode::kLost);
    EXPECT_NE(story.Sentence().find("719"), std::string::npos) << story.Sentence();
  }
}

// By name, since a cudaFree that fails has given nothing back.
TEST(PluginFaults, NothingIsHeldAfterAFault) {
  for (const char* name :
       {"cudaMalloc", "cudaHostAlloc", "cudaMemcpyAsync", "cudaStreamSynchronize",
        "cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaLaunchKernel",
        "cudaGraphInstantiate", "cudaGraphUpload", "cudaGraphLaunch"}) {
    CallsOfAGoodStory();
    const uint64_t calls = simt::Faults::Calls(name);
    EXPECT_GT(calls, 0u) << name;
    for (uint64_t call = 1; call <= calls; ++call) {
      SCOPED_TRACE(name + std::to_string(call));
      simt::Faults::Reset();
      simt::Faults::FailCall(name, call, cudaErrorMemoryAllocation);
      Tell();
      size_t free_bytes = 0;
      size_t total_bytes = 0;
      ASSERT_EQ(cudaMemGetInfo(&free_bytes, &total_bytes), cudaSuccess);
      EXPECT_EQ(free_bytes, total_bytes);
    }
  }
}

TEST(PluginFaults, TooLittleMemory) {
  simt::Faults::Reset();
  simt::Faults::Parse("memory=4096");
  const Story story = Tell();
  EXPECT_EQ(story.First(), DeviceCode::kOutOfMemory);
  EXPECT_NE(story.Sentence().find("cudaMalloc"), std::string::npos) << story.Sentence();
}

struct Machine {
  const char* faults;
  DeviceCode code;
  const char* says;
};

TEST(PluginFaults, AMachineWithoutADeviceSaysWhy) {
  const Machine machines[] = {
      {"driver=0", DeviceCode::kNoDriver, "no CUDA driver"},
      {"driver=12000", DeviceCode::kOldDriver, "35"},
      {"devices=0", DeviceCode::kNoDevice, "100"},
      {"cudaGetDeviceCount#1=803", DeviceCode::kOldDriver, "803"},
      {"cudaGetDeviceCount#1=34", DeviceCode::kNoDriver, "34"},
      {"cudaSetDevice#1=46", DeviceCode::kLost, "46"},
      {"cudaFree#1=2", DeviceCode::kOutOfMemory, "cudaFree"},
  };
  for (const Machine& machine : machines) {
    SCOPED_TRACE(machine.faults);
    simt::Faults::Reset();
    simt::Faults::Parse(machine.faults);
    DeviceInfo info;
    DeviceError error;
    EXPECT_EQ(millrace_device_plugin()->start(0, &info, &error), machine.code) << error.sentence;
    EXPECT_NE(std::string(error.sentence).find(machine.says), std::string::npos) << error.sentence;
  }
  simt::Faults::Reset();
  DeviceInfo info;
  DeviceError error;
  EXPECT_EQ(millrace_device_plugin()->start(7, &info, &error), DeviceCode::kNoDevice);
}

}  // namespace
}  // namespace millrace::cuda
