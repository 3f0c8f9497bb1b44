// The libraries' own answers (kernels/testdata) from the plug-in over the SIMT shim, bit by bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/compile/compile.h"
#include "kernels/device/plugin.h"
#include "kernels/plan/plan_view.h"

extern "C" const millrace::DevicePlugin* millrace_device_plugin();

namespace millrace {
namespace {

namespace fs = std::filesystem;

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

// Rows of float64 are the CPU's; the plug-in takes float32.
bool Float32(const nlohmann::json& description) {
  return description.at("input_dtype") == "float32";
}

void Check(const fs::path& folder, const nlohmann::json& description, uint64_t in_place_bytes) {
  const auto compiled = CompileModel(ReadFile(folder / description.at("model").get<std::string>()),
                                     ModelFormat::kAuto);
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  const auto& image = compiled->plan;
  const PlanView plan(image.data());
  const std::string rows = ReadFile(folder / "rows.bin");
  const std::string expected = ReadFile(folder / "margin.bin");
  const auto n = description.at("rows").get<size_t>();
  const DevicePlugin& plugin = *millrace_device_plugin();
  DeviceModel* model = nullptr;
  DeviceError error;
  const DeviceOptions options = {
      .device = 0, .fast = 0, .max_rows = n, .in_place_bytes = in_place_bytes};
  ASSERT_EQ(plugin.open(image.data(), image.size(), &options, &model, &error), DeviceCode::kOk)
      << error.sentence;
  std::vector<float> aligned(rows.size() / sizeof(float));
  std::memcpy(aligned.data(), rows.data(), rows.size());
  // Each row by itself, a few, all.
  for (const size_t batch : {size_t{1}, size_t{7}, n}) {
    std::string margins(expected.size(), '\xcd');
    for (size_t at = 0; at < n; at += batch) {
      const DevicePiece piece = {aligned.data() + at * plan.features(), std::min(batch, n - at),
                                 margins.data() + at * (expected.size() / n)};
      ASSERT_EQ(plugin.run(model, &piece, 1, &error), DeviceCode::kOk) << error.sentence;
    }
    EXPECT_TRUE(margins == expected) << folder << ", batches of " << batch;
  }
  plugin.close(model);
}

TEST(GoldenCuda, AgreesWithTheLibraries) {
  DeviceInfo info;
  DeviceError error;
  ASSERT_EQ(millrace_device_plugin()->start(0, &info, &error), DeviceCode::kOk) << error.sentence;
  int checked = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator("kernels/testdata")) {
    if (!fs::exists(entry.path() / "case.json")) continue;
    const auto description = nlohmann::json::parse(ReadFile(entry.path() / "case.json"));
    if (!Float32(description)) continue;
    ++checked;
    Check(entry.path(), description, checked % 2 == 0 ? 0 : uint64_t{1} << 40);
  }
  EXPECT_GE(checked, 30) << "a suite that lost its data must not pass";
}

}  // namespace
}  // namespace millrace
