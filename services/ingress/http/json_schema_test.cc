// The validator itself: each keyword with a value that keeps it and one that breaks it.
#include <gtest/gtest.h>

#include "services/ingress/http/json_schema_for_test.h"

namespace millrace::http {
namespace {

using nlohmann::json;

TEST(JsonSchema, EachKeywordIsKeptAndBroken) {
  const struct {
    const char* schema;
    const char* good;
    const char* bad;
  } kCases[] = {
      {R"({"type":"string"})", R"("x")", "1"},
      {R"({"type":"integer"})", "1", "1.5"},
      {R"({"type":"number"})", "1.5", R"("1")"},
      {R"({"type":"boolean"})", "true", "0"},
      {R"({"type":["array","null"]})", "null", "{}"},
      {R"({"type":"object"})", "{}", "[]"},
      {R"({"enum":["a",1]})", "1", R"("b")"},
      {R"({"const":false})", "false", "true"},
      {R"({"minLength":1})", R"("x")", R"("")"},
      {R"({"pattern":"^a"})", R"("ab")", R"("ba")"},
      {R"({"minimum":2})", "2", "1"},
      {R"({"maximum":2})", "2", "3"},
      {R"({"required":["a"]})", R"({"a":1})", R"({"b":1})"},
      {R"({"properties":{"a":{"const":1}}})", R"({"a":1,"b":2})", R"({"a":2})"},
      {R"({"properties":{"a":{}},"additionalProperties":false})", R"({"a":1})", R"({"b":1})"},
      {R"({"additionalProperties":{"const":1}})", R"({"a":1})", R"({"a":2})"},
      {R"({"propertyNames":{"not":{"pattern":"^x"}}})", R"({"a":1})", R"({"xa":1})"},
      {R"({"minProperties":1})", R"({"a":1})", "{}"},
      {R"({"items":{"const":1}})", "[1,1]", "[1,2]"},
      {R"({"minItems":1})", "[1]", "[]"},
      {R"({"maxItems":1})", "[1]", "[1,2]"},
      {R"({"anyOf":[{"const":1},{"const":2}]})", "2", "3"},
      {R"({"oneOf":[{"minimum":1},{"minimum":2}]})", "1", "2"},
      {R"({"not":{"const":1}})", "2", "1"},
      {R"({"$ref":"#/one"})", "1", "2"},
  };
  const json document = json::parse(R"({"one":{"const":1}})");
  const JsonSchema schema(&document);
  for (const auto& want : kCases) {
    const json rule = json::parse(want.schema);
    EXPECT_EQ(schema.CheckSchema(rule), "") << want.schema;
    EXPECT_EQ(schema.Check(rule, json::parse(want.good)), "") << want.schema;
    EXPECT_NE(schema.Check(rule, json::parse(want.bad)), "") << want.schema;
  }
}

TEST(JsonSchema, WhatIsNotUnderstoodIsAFault) {
  const json document = json::object();
  const JsonSchema schema(&document);
  for (const char* text : {R"({"multipleOf":2})", R"({"items":{"uniqueItems":true}})",
                           R"({"$ref":"#/nowhere"})", R"({"$ref":"other.json"})"}) {
    EXPECT_NE(schema.CheckSchema(json::parse(text)), "") << text;
    EXPECT_NE(schema.Check(json::parse(text), json::parse("[1]")), "") << text;
  }
}

}  // namespace
}  // namespace millrace::http
