#include "tools/load/csv.h"

#include "gtest/gtest.h"

namespace millrace {
namespace {

using Cells = std::vector<std::string>;

std::string FaultOf(const std::string& text) {
  const absl::StatusOr<Csv> csv = ParseCsv(text, "f.csv");
  return csv.ok() ? "" : std::string(csv.status().message());
}

TEST(CsvTest, QuotesLineEndsAndEmptyCells) {
  const absl::StatusOr<Csv> csv =
      ParseCsv("a,\"b,c\"\r\n1,\"say \"\"hi\"\"\"\n,\"two\nlines\"\n", "f");
  ASSERT_TRUE(csv.ok()) << csv.status();
  EXPECT_EQ(csv->header, (Cells{"a", "b,c"}));
  ASSERT_EQ(csv->rows.size(), 2u);
  EXPECT_EQ(csv->rows[0], (Cells{"1", "say \"hi\""}));
  EXPECT_EQ(csv->rows[1], (Cells{"", "two\nlines"}));
}

TEST(CsvTest, TheLastLineNeedsNoEnd) {
  EXPECT_EQ(ParseCsv("a,b\n1,2", "f")->rows.size(), 1u);
  EXPECT_EQ(ParseCsv("a,b\n1,2\n", "f")->rows.size(), 1u);
}

TEST(CsvTest, AnEmptyLineIsARowOnlyUnderOneColumn) {
  EXPECT_EQ(ParseCsv("a,b\n\n1,2\n", "f")->rows.size(), 1u);
  EXPECT_EQ(ParseCsv("a\n\n1\n", "f")->rows.size(), 2u);
}

TEST(CsvTest, FaultsNameTheLine) {
  EXPECT_EQ(FaultOf(""), "f.csv:1: no header");
  EXPECT_EQ(FaultOf("a,b\n1,2\n1\n"), "f.csv:3: 1 cells under a header of 2");
  EXPECT_EQ(FaultOf("a,b\n\"1\n2\",3\n1,2,3\n"), "f.csv:4: 3 cells under a header of 2");
  EXPECT_EQ(FaultOf("a,b\n1,\"2\n"), "f.csv:2: a quote is not closed");
  EXPECT_EQ(FaultOf("\"a"), "f.csv:1: a quote is not closed");
}

TEST(CsvTest, AFileThatIsNotThereIsNamed) {
  const absl::StatusOr<Csv> csv = ReadCsv("no/such.csv");
  EXPECT_TRUE(absl::IsNotFound(csv.status()));
  EXPECT_EQ(csv.status().message(), "no/such.csv: cannot be read");
}

TEST(CsvTest, WhatIsWrittenIsReadBack) {
  for (const char* text : {"", "plain", "a,b", "\"", "say \"hi\"", "two\nlines", "cr\rhere"}) {
    const absl::StatusOr<Csv> csv = ParseCsv("x,y\n1," + CsvCell(text) + "\n", "f");
    ASSERT_TRUE(csv.ok()) << csv.status();
    EXPECT_EQ(csv->rows[0][1], text);
  }
}

}  // namespace
}  // namespace millrace
