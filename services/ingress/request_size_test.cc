#include "services/ingress/request_size.h"

#include <gtest/gtest.h>

#include "common/datatype.h"

namespace millrace {
namespace {

constexpr size_t kMost = 8 << 20;

// `rows` of `columns` numbers, the only model of a catalog.
std::shared_ptr<Catalog> OneModel(uint32_t rows, int64_t columns) {
  auto catalog = std::make_shared<Catalog>();
  Model* model = catalog->add_models();
  model->set_name("m");
  model->set_max_rows(rows);
  TensorSpec* input = model->add_inputs();
  input->set_name("x");
  input->set_datatype(static_cast<uint32_t>(DataType::kFp32));
  input->add_dims(columns);
  return catalog;
}

TEST(RequestSize, GrowsWithRowsAndColumns) {
  const size_t base = MostBodyBytes(OneModel(1, 1)->models(0), kMost);
  EXPECT_GT(base, kSmallRequestBytes);
  EXPECT_EQ(MostBodyBytes(OneModel(100, 30)->models(0), kMost) - base,
            (100 * 30 - 1) * 32u + 99 * (6 + 16))
      << "and a name of one byte for each row";
  EXPECT_EQ(MostBodyBytes(OneModel(1 << 20, 1 << 20)->models(0), kMost), kMost);
  EXPECT_EQ(MostBodyBytes(OneModel(1, int64_t{1} << 62)->models(0), kMost), kMost);
  EXPECT_EQ(MostBodyBytes(OneModel(100, 30)->models(0), 1000), 1000u);
}

TEST(RequestSize, AViewsNamesCountAndStringsHaveNoWidth) {
  const auto catalog = OneModel(10, 1);
  Model* model = catalog->mutable_models(0);
  const size_t before = MostBodyBytes(*model, kMost);
  Feature* feature = model->mutable_view()->add_features();
  feature->set_column("age");
  EXPECT_EQ(MostBodyBytes(*model, kMost), before + (1 << 10) + 10 * (6 * 3 - 6));
  feature->set_type(Feature::STRING);
  EXPECT_EQ(MostBodyBytes(*model, kMost), kMost);
}

TEST(RequestSize, TheLargestModelThatIsLiveCounts) {
  LargestMessage largest(kMost);
  EXPECT_EQ(largest.Bytes(nullptr), kMost);
  const auto small = OneModel(1, 1);
  const size_t of_small = largest.Bytes(small);
  EXPECT_LT(of_small, kSmallRequestBytes + 2048);
  EXPECT_EQ(largest.Bytes(small), of_small);
  const auto both = OneModel(1, 1);
  *both->add_models() = OneModel(1000, 30)->models(0);
  EXPECT_GT(largest.Bytes(both), 1000 * 30 * 8u);
  both->mutable_models(0)->mutable_inputs(0)->set_datatype(static_cast<uint32_t>(DataType::kBytes));
  EXPECT_GT(largest.Bytes(both), 1000 * 30 * 8u) << "a catalog does not change";
  EXPECT_EQ(largest.Bytes(std::make_shared<Catalog>(*both)), kMost);
  EXPECT_EQ(largest.Bytes(small), of_small) << "a smaller one may follow";
}

}  // namespace
}  // namespace millrace
