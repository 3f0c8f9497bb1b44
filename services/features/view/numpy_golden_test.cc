// Every transform against numpy, bit by bit (testdata/make_numpy_golden.py wrote the file).
#include <string.h>

#include <fstream>
#include <sstream>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "services/features/view/compiled_view.h"

namespace millrace {
namespace {

CompiledView MakeView(const std::string& transforms) {
  Feature feature;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(transforms, &feature)) << transforms;
  feature.set_column("x");
  FeatureView view;
  *view.add_features() = feature;
  absl::StatusOr<CompiledView> compiled = CompiledView::Make(view);
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  return *std::move(compiled);
}

TEST(NumpyGolden, EveryValueIsBitEqual) {
  std::ifstream file("services/features/view/testdata/numpy_golden.txt");
  ASSERT_TRUE(file.is_open());
  std::optional<CompiledView> view;
  size_t checked = 0;
  for (std::string line; std::getline(file, line);) {
    if (absl::StartsWith(line, "view")) {
      view.emplace(MakeView(line.substr(4)));
      continue;
    }
    std::istringstream words(line);
    std::string datatype, value, expected;
    ASSERT_TRUE(words >> datatype >> value >> expected) << line;
    const std::string bytes = absl::HexStringToBytes(value);
    const Column column{ParseDataType(datatype).value(),
                        reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()};
    float out = -1;
    ASSERT_TRUE(view->Apply({column}, 1, &out).ok()) << line;
    uint32_t bits;
    memcpy(&bits, &out, sizeof bits);
    EXPECT_EQ(absl::StrCat(absl::Hex(bits, absl::kZeroPad8)), expected) << line;
    ++checked;
  }
  EXPECT_GT(checked, 1000u);
}

}  // namespace
}  // namespace millrace
