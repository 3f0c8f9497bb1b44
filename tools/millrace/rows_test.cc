#include "tools/millrace/rows.h"

#include <fstream>

#include "gtest/gtest.h"

namespace millrace {
namespace {

using Cells = std::vector<std::string>;

std::string FaultOf(const std::string& text) {
  const absl::StatusOr<Csv> csv = ParseJsonRows(text, "f.json");
  return csv.ok() ? "" : std::string(csv.status().message());
}

TEST(RowsTest, ObjectsAreNamedColumns) {
  const auto csv = ParseJsonRows(R"([{"b": 0.1, "a": "x"}, {"a": null, "c": -3}, {}])", "f.json");
  ASSERT_TRUE(csv.ok()) << csv.status();
  EXPECT_EQ(csv->header, (Cells{"b", "a", "c"}));
  EXPECT_EQ(csv->rows, (std::vector<Cells>{{"0.1", "x", ""}, {"", "", "-3"}, {"", "", ""}}));
}

TEST(RowsTest, ListsArePositions) {
  const auto csv = ParseJsonRows(R"({"instances": [[1, null, 1e-45], [4, 5, 6]]})", "f.json");
  ASSERT_TRUE(csv.ok()) << csv.status();
  EXPECT_EQ(csv->header, (Cells{"0", "1", "2"}));
  EXPECT_EQ(csv->rows[0], (Cells{"1", "", "1e-45"}));
}

TEST(RowsTest, FaultsNameTheRow) {
  EXPECT_EQ(FaultOf("[{\"a\":1},{\"a\":[1]}]"),
            "f.json: row 2: a value must be a number, a text or null");
  EXPECT_EQ(FaultOf("[[1],{\"a\":1}]"), "f.json: row 2: the rows must be all objects or all lists");
  EXPECT_EQ(FaultOf("[[1],[1,2]]"), "f.json: row 2: the lists must be of one length");
  EXPECT_EQ(FaultOf("[1]"),
            "f.json: row 1: must be an object of named columns, or a list of numbers");
  for (const char* text : {"", "{}", "[]", "7", "[1,"}) {
    EXPECT_EQ(FaultOf(text), "f.json: must be a JSON list of rows, or {\"instances\": list}");
  }
}

TEST(RowsTest, TheFilesNameSaysItsForm) {
  const std::string folder = testing::TempDir();
  std::ofstream(folder + "/rows.json") << "[[1,2]]";
  std::ofstream(folder + "/rows.csv") << "a,b\n1,2\n";
  EXPECT_EQ(ReadRows(folder + "/rows.json")->header, (Cells{"0", "1"}));
  EXPECT_EQ(ReadRows(folder + "/rows.csv")->header, (Cells{"a", "b"}));
  EXPECT_TRUE(absl::IsNotFound(ReadRows("no/such.json").status()));
  EXPECT_TRUE(absl::IsNotFound(ReadRows("no/such.csv").status()));
}

}  // namespace
}  // namespace millrace
