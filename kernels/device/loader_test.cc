// Whatever lies at the plug-in's path, and whatever it answers, is a state and a sentence.
#include "kernels/device/loader.h"

#include <dlfcn.h>
#include <math.h>

#include <fstream>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/device/testing/fault_file.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

class LoaderTest : public ::testing::Test {
 protected:
  void ExpectWithout(const Device& device, DeviceState state, const std::string& part) {
    EXPECT_EQ(device.state, state) << device.sentence;
    EXPECT_FALSE(device.ready());
    EXPECT_EQ(device.plugin, nullptr);
    EXPECT_THAT(device.sentence, HasSubstr(part));
    EXPECT_EQ(device.sentence.find('\n'), std::string::npos);
  }
  std::string Temp(const std::string& name) {
    return std::string(getenv("TEST_TMPDIR")) + "/" + name;
  }

  FaultFile faults_{"faults"};
};

TEST_F(LoaderTest, NothingAtThePath) {
  ExpectWithout(OpenDevice(Temp("none.so"), 0), DeviceState::kNoLibrary, Temp("none.so"));
  ExpectWithout(OpenDevice("", 0), DeviceState::kNoLibrary, "no device plug-in");
  ExpectWithout(OpenDevice(std::string(5000, 'x'), 0), DeviceState::kNoLibrary, "xxx");
}

TEST_F(LoaderTest, NoSharedObject) {
  std::ofstream(Temp("text.so")) << "not a shared object\n";
  std::ofstream(Temp("empty.so"));
  for (const std::string& path : {Temp("text.so"), Temp("empty.so"), Temp("")}) {
    ExpectWithout(OpenDevice(path, 0), DeviceState::kNotLoadable, "cannot be loaded (");
  }
}

TEST_F(LoaderTest, ASharedObjectCutShort) {
  std::ifstream whole(kFakePlugin, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(whole)), std::istreambuf_iterator<char>());
  ASSERT_GT(bytes.size(), 4096u);
  for (const size_t keep : {size_t{100}, size_t{4096}}) {
    std::ofstream(Temp("cut.so"), std::ios::binary) << bytes.substr(0, keep);
    ExpectWithout(OpenDevice(Temp("cut.so"), 0), DeviceState::kNotLoadable, "cannot be loaded");
  }
}

TEST_F(LoaderTest, AnotherSharedObject) {
  Dl_info math;
  ASSERT_NE(dladdr(reinterpret_cast<void*>(static_cast<double (*)(double)>(&lgamma)), &math), 0);
  ExpectWithout(OpenDevice(math.dli_fname, 0), DeviceState::kNoSymbol, "is no device plug-in");
  faults_.Set("symbol 1");
  ExpectWithout(OpenDevice(kFakePlugin, 0), DeviceState::kNoSymbol, "is no device plug-in");
}

TEST_F(LoaderTest, AnotherBuildIsNeverStarted) {
  faults_.Set("abi 1");
  ExpectWithout(OpenDevice(kFakePlugin, 0), DeviceState::kOtherBuild, "another build");
  EXPECT_EQ(faults_.Log(), "");
}

TEST_F(LoaderTest, EachAnswerOfStartIsItsOwnState) {
  const std::pair<int, DeviceState> cases[] = {
      {1, DeviceState::kNoDriver}, {2, DeviceState::kOldDriver}, {3, DeviceState::kNoDevice},
      {4, DeviceState::kFailed},   {5, DeviceState::kFailed},    {6, DeviceState::kFailed},
      {99, DeviceState::kFailed},  {-1, DeviceState::kFailed}};
  for (const auto& [code, state] : cases) {
    faults_.Set("start " + std::to_string(code));
    ExpectWithout(OpenDevice(kFakePlugin, 0), state, "");
  }
  faults_.Set("start 1");
  EXPECT_EQ(OpenDevice(kFakePlugin, 0).sentence, "no NVIDIA driver on this machine");
  faults_.Set("start 2");
  EXPECT_EQ(OpenDevice(kFakePlugin, 0).sentence,
            "the NVIDIA driver is older than the plug-in needs (start fails as asked)");
  faults_.Set("start 3");
  EXPECT_THAT(OpenDevice(kFakePlugin, 7).sentence, HasSubstr("no device 7"));
  faults_.Set("start 6");
  EXPECT_THAT(OpenDevice(kFakePlugin, 0).sentence, HasSubstr("code 6 (start fails as asked)"));
}

TEST_F(LoaderTest, ADeviceIsDescribedAndAMissingCublasIsNoFailure) {
  const Device device = OpenDevice(kFakePlugin, 2);
  ASSERT_TRUE(device.ready()) << device.sentence;
  ASSERT_NE(device.plugin, nullptr);
  EXPECT_EQ(device.plugin->abi, kDeviceAbi);
  EXPECT_EQ(device.sentence,
            "Fake device 2 (sm_90, 16384 MiB, driver 13.0, runtime 13.0, no cuBLAS here)");
  EXPECT_THAT(faults_.Log(), HasSubstr("start 2"));
}

TEST_F(LoaderTest, EachStateHasItsName) {
  std::set<std::string_view> names;
  for (size_t i = 0; i < kDeviceStates; ++i) {
    names.insert(DeviceStateName(static_cast<DeviceState>(i)));
  }
  EXPECT_EQ(names.size(), kDeviceStates);
  EXPECT_EQ(DeviceStateName(DeviceState::kFailed), "failed");
}

TEST_F(LoaderTest, ThePlugInLiesBesideTheProgram) {
  const std::string path = DefaultDevicePath();
  EXPECT_EQ(path.front(), '/');
  EXPECT_THAT(path, HasSubstr("/libmillrace_cuda.so"));
}

}  // namespace
}  // namespace millrace
