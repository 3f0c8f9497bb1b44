#include "services/ingress/core/model_table.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using ::testing::HasSubstr;

constexpr char kCatalog[] = R"(
  generation: 1
  models {
    name: "plain" version: "1" route: 1 max_rows: 4 latest: true
    inputs { name: "input" datatype: 11 dims: 2 }
    outputs { tensor { name: "prediction" datatype: 11 dims: 1 } kind: PREDICTION }
    outputs { tensor { name: "margin" datatype: 11 dims: 1 } kind: MARGIN }
    outputs { tensor { name: "label" datatype: 13 dims: 1 } kind: LABEL labels: "no" labels: "yes" }
    prediction_columns: 1 margin_columns: 1
  }
  models {
    name: "viewed" version: "1" route: 2 max_rows: 4
    inputs { name: "input" datatype: 11 dims: 3 }
    outputs { tensor { name: "prediction" datatype: 12 dims: 1 } kind: PREDICTION }
    view {
      features { column: "age" type: NUMBER }
      features { column: "plan" type: STRING }
      features { column: "age" type: NUMBER }
    }
    members { route: 1 weight: 1 } members { route: 1 weight: 2 }
    combine: WEIGHTED_MEAN prediction_columns: 1
  }
  models {
    name: "viewed" version: "2" route: 3 max_rows: 4 latest: true
    inputs { name: "input" datatype: 11 dims: 3 }
    outputs { tensor { name: "prediction" datatype: 12 dims: 1 } kind: PREDICTION }
    prediction_columns: 1
  }
)";

class ModelTableTest : public ::testing::Test {
 protected:
  ModelTableTest() {
    auto catalog = std::make_shared<Catalog>();
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(kCatalog, catalog.get()));
    table_ = ModelTable::Make(catalog);
  }

  // Adds an input with `elements` elements of its type's width.
  void Input(std::string_view name, DataType type, std::vector<int64_t> shape, size_t elements) {
    shapes_.push_back(std::make_unique<std::vector<int64_t>>(std::move(shape)));
    inputs_.push_back(
        {name, type, *shapes_.back(),
         std::string_view(kBytes, elements * std::max<size_t>(1, DataTypeSize(type)))});
  }
  absl::StatusOr<CheckedRequest> Check(std::string_view model, std::string_view version = "") {
    InferRequest request;
    request.model = model;
    request.version = version;
    request.inputs = inputs_;
    request.outputs = outputs_;
    return Check(*table_, request);
  }
  static absl::StatusOr<CheckedRequest> Check(const ModelTable& table,
                                              const InferRequest& request) {
    absl::StatusOr<CheckedRequest> checked{absl::in_place};
    if (absl::Status s = table.Check(request, &*checked); !s.ok()) return s;
    return checked;
  }
  void ExpectInvalid(std::string_view model, std::string_view sentence,
                     std::string_view version = "") {
    const absl::Status status = Check(model, version).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::string(sentence)));
  }

  static constexpr char kBytes[1024] = {};
  std::shared_ptr<const ModelTable> table_;
  std::vector<std::unique_ptr<std::vector<int64_t>>> shapes_;
  std::vector<TensorView> inputs_;
  std::vector<std::string_view> outputs_;
};

TEST_F(ModelTableTest, UnknownModelAndVersionAreNotFound) {
  EXPECT_TRUE(absl::IsNotFound(table_->Find("none", "").status()));
  EXPECT_TRUE(absl::IsNotFound(table_->Find("plain", "2").status()));
  EXPECT_EQ((*table_->Find("viewed", ""))->model->route(), 3u);
  EXPECT_EQ((*table_->Find("viewed", "1"))->model->route(), 2u);
}

TEST_F(ModelTableTest, ATensorThatFitsIsTaken) {
  Input("input", DataType::kFp32, {3, 2}, 6);
  const auto checked = Check("plain");
  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_EQ(checked->rows, 3u);
  EXPECT_FALSE(checked->raw_columns);
  EXPECT_TRUE(checked->needs_aggregation);  // the label is among the outputs
  EXPECT_EQ(checked->output_order.size(), 3u);
}

TEST_F(ModelTableTest, OutputsChooseTheRoute) {
  Input("input", DataType::kFp32, {1, 2}, 2);
  outputs_ = {"margin"};
  const auto checked = Check("plain");
  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_FALSE(checked->needs_aggregation);
  EXPECT_EQ(checked->outputs, 1u << MARGIN);
  outputs_ = {"margin", "scores"};
  ExpectInvalid("plain", "outputs[1].name: the model has no output 'scores'");
  // An answer has room for each of the model's outputs once.
  outputs_.assign(1000, "margin");
  ExpectInvalid("plain", "outputs[1].name: 'margin' is given twice");
}

TEST_F(ModelTableTest, TensorFaultsNameTheField) {
  ExpectInvalid("plain", "inputs: none given");
  Input("input", DataType::kFp64, {1, 2}, 2);
  ExpectInvalid("plain", "inputs[0].datatype: FP64, but input 'input' is FP32");
  inputs_.clear();
  Input("input", DataType::kFp32, {1, 3}, 3);
  ExpectInvalid("plain", "inputs[0].shape: [1, 3], but input 'input' takes [rows, 2]");
  inputs_.clear();
  Input("input", DataType::kFp32, {2}, 2);
  ExpectInvalid("plain", "inputs[0].shape");
  inputs_.clear();
  for (int64_t rows : {int64_t{0}, int64_t{5}, int64_t{-1}, INT64_MAX}) {
    Input("input", DataType::kFp32, {rows, 2}, 2);
    ExpectInvalid("plain", "first dimension outside 1 to 4");
    inputs_.clear();
  }
  Input("input", DataType::kFp32, {2, 2}, 3);
  ExpectInvalid("plain", "inputs[0].data: 12 bytes, but the shape asks for 16");
  inputs_.clear();
  Input("imput", DataType::kFp32, {1, 2}, 2);
  ExpectInvalid("plain", "inputs[0].name: the model has no input 'imput'");
  inputs_.clear();
  Input("input", DataType::kFp32, {1, 2}, 2);
  Input("input", DataType::kFp32, {1, 2}, 2);
  ExpectInvalid("plain", "inputs[1].name: 'input' is given twice");
}

TEST_F(ModelTableTest, RawColumnsAreTakenByName) {
  Input("plan", DataType::kBytes, {2, 1}, 8);
  Input("age", DataType::kInt64, {2}, 2);
  const auto checked = Check("viewed", "1");
  ASSERT_TRUE(checked.ok()) << checked.status();
  EXPECT_TRUE(checked->raw_columns);
  EXPECT_TRUE(checked->needs_aggregation);
  EXPECT_EQ(checked->pack_names, (absl::InlinedVector<uint16_t, 16>{1, 0}));
  EXPECT_EQ(checked->model->members.size(), 2u);
  EXPECT_EQ(checked->model->columns.size(), 2u);  // "age" is read by two features
}

TEST_F(ModelTableTest, ColumnFaultsNameTheColumn) {
  Input("age", DataType::kInt64, {2}, 2);
  ExpectInvalid("viewed", "inputs: column 'plan' is missing", "1");
  Input("plan", DataType::kFp32, {2}, 2);
  ExpectInvalid("viewed", "inputs[1].datatype: FP32, but column 'plan' takes BYTES", "1");
  inputs_.pop_back();
  Input("plan", DataType::kBytes, {3}, 12);
  ExpectInvalid("viewed", "inputs[1].shape: [3] has other rows than the first input's 2", "1");
  inputs_.pop_back();
  Input("plan", DataType::kBytes, {2, 2}, 16);
  ExpectInvalid("viewed", "takes [rows] or [rows, 1]", "1");
}

// A memo is a hint: what it says is believed by its own table alone, and for its own model.
TEST_F(ModelTableTest, AMemoIsNeverWrong) {
  Input("input", DataType::kFp32, {1, 2}, 2);
  ModelMemo memo;
  InferRequest request;
  request.model = "plain";
  request.inputs = inputs_;
  request.memo = &memo;
  ASSERT_TRUE(Check(*table_, request).ok());
  EXPECT_EQ(memo.model, &table_->at(0));
  EXPECT_EQ(Check(*table_, request)->model, &table_->at(0));
  request.version = "9";
  EXPECT_EQ(Check(*table_, request).status().code(), absl::StatusCode::kNotFound);
  request.version = "";
  request.model = "viewed";
  EXPECT_NE(Check(*table_, request).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(memo.model, &table_->at(2));
  // The next table, wherever it lies: its own model is found.
  const auto next = ModelTable::Make(table_->catalog());
  request.model = "plain";
  const ModelMemo of_older = memo;
  EXPECT_EQ(Check(*next, request)->model, &next->at(0));
  EXPECT_NE(memo.table, of_older.table);
  request.model = "gone";
  EXPECT_EQ(Check(*next, request).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ModelTableTest, BoundsGrowWithRows) {
  const ServedModel& model = **table_->Find("plain", "");
  const uint32_t all = 1u << PREDICTION | 1u << MARGIN | 1u << LABEL;
  EXPECT_GE(model.ExecutionBytes(4, all), 4 * 16u);
  EXPECT_GE(model.AggregationBytes(4, all), 4 * (16u + 7u));
  EXPECT_GT(model.AggregationBytes(4, all), model.AggregationBytes(1, all));
}

}  // namespace
}  // namespace millrace
