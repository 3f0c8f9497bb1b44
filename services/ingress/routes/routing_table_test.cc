#include "services/ingress/routes/routing_table.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <math.h>
#include <string.h>

#include <map>

namespace millrace {
namespace {

using ::testing::ElementsAre;

std::shared_ptr<const RoutingTable> TableOf(const std::string& routes) {
  Routes parsed;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString("generation: 1 " + routes, &parsed));
  return RoutingTable::Make(parsed);
}

std::string Split(const std::vector<std::pair<std::string, uint32_t>>& weights) {
  std::string rule = "routes { name: \"m\" rules { ";
  for (const auto& [version, weight] : weights) {
    rule += "targets { model: \"m\" version: \"" + version +
            "\" weight: " + std::to_string(weight) + " } ";
  }
  return rule + "} }";
}

class Headers : public RequestHeaders {
 public:
  explicit Headers(std::map<std::string, std::string, std::less<>> fields)
      : fields_(std::move(fields)) {}
  std::string_view Find(std::string_view name) const override {
    ++looks;
    const auto found = fields_.find(name);
    return found == fields_.end() ? std::string_view() : found->second;
  }
  mutable int looks = 0;

 private:
  std::map<std::string, std::string, std::less<>> fields_;
};

std::string KeyOf(int client) { return "client-" + std::to_string(client * 7919); }

std::string PickOf(const RoutingTable& table, int client) {
  const CompiledRule* const rule = table.Find({"m", ""});
  return rule->Pick(RouteKey("m", KeyOf(client)))->version;
}

// Within five standard deviations of the binomial distribution, of every kind of key.
TEST(RoutingTable, TheSplitIsThatOfTheWeights) {
  constexpr int kClients = 200'000;
  for (const uint32_t parts : {1u, 10u, 100u, 500u, 2500u, 5000u, 9999u}) {
    const auto table = TableOf(Split({{"1", 10'000 - parts}, {"2", parts}}));
    const CompiledRule* const rule = table->Find({"m", ""});
    const auto keys = {
        +[](int i) { return RouteKey("m", KeyOf(i)); },
        +[](int i) { return RouteKey("m", std::to_string(i)); },
        +[](int i) {
          return RouteKey("m", std::string(8, 'a') + static_cast<char>(i) +
                                   static_cast<char>(i >> 8) + static_cast<char>(i >> 16));
        },
        +[](int i) { return RouteKeyOfNobody(static_cast<uint64_t>(i)); },
    };
    for (const auto& key : keys) {
      int second = 0;
      for (int i = 0; i < kClients; ++i) second += rule->Pick(key(i))->version == "2";
      const double p = parts / 10'000.0;
      const double bound = 5 * sqrt(kClients * p * (1 - p)) + 1;
      EXPECT_NEAR(second, kClients * p, bound) << parts;
    }
  }
}

TEST(RoutingTable, EachOfManyTargetsHasItsShare) {
  constexpr int kClients = 100'000;
  const auto table = TableOf(Split({{"1", 5000}, {"2", 3000}, {"3", 0}, {"4", 1990}, {"5", 10}}));
  std::map<std::string, int> seen;
  for (int i = 0; i < kClients; ++i) ++seen[PickOf(*table, i)];
  EXPECT_NEAR(seen["1"], 50'000, 1000);
  EXPECT_NEAR(seen["2"], 30'000, 1000);
  EXPECT_EQ(seen["3"], 0);
  EXPECT_NEAR(seen["4"], 19'900, 800);
  EXPECT_NEAR(seen["5"], 100, 60);
}

// Growing step by step, a key only ever goes from the old version to the new one.
TEST(RoutingTable, AClientKeepsItsVersionUntilTheWeightsMovePastIt) {
  constexpr int kClients = 5000;
  std::vector<std::string> before(kClients, "1");
  for (const uint32_t parts : {100u, 500u, 2500u, 5000u, 10'000u}) {
    const auto table = TableOf(Split({{"1", 10'000 - parts}, {"2", parts}}));
    for (int i = 0; i < kClients; ++i) {
      const std::string now = PickOf(*table, i);
      EXPECT_EQ(now, PickOf(*table, i));
      if (before[i] == "2") {
        EXPECT_EQ(now, "2") << i;
      }
      before[i] = now;
    }
  }
  EXPECT_EQ(std::count(before.begin(), before.end(), "2"), kClients);
}

// The newest of three grows at the cost of the first; nobody else's clients move.
TEST(RoutingTable, TheLastOfManyGrowsIntoTheFirstAlone) {
  const auto small = TableOf(Split({{"1", 6500}, {"2", 3000}, {"3", 500}}));
  const auto large = TableOf(Split({{"1", 5000}, {"2", 3000}, {"3", 2000}}));
  for (int i = 0; i < 5000; ++i) {
    const std::string before = PickOf(*small, i), after = PickOf(*large, i);
    if (before != after) {
      EXPECT_EQ(before, "1");
      EXPECT_EQ(after, "3");
    }
  }
}

// Two routes with the same split do not send the same clients to their canaries.
TEST(RoutingTable, RoutesAreIndependentOfEachOther) {
  constexpr int kClients = 100'000;
  int both = 0, shadowed = 0;
  for (int i = 0; i < kClients; ++i) {
    const uint64_t a = RouteKey("a", KeyOf(i)), b = RouteKey("b", KeyOf(i));
    const bool in_a = a >> 63, in_b = b >> 63;
    both += in_a && in_b;
    shadowed += in_a && TakesShare(a, "7", 5000);
  }
  EXPECT_NEAR(both, kClients / 4, 1000);
  EXPECT_NEAR(shadowed, kClients / 4, 1000);
}

constexpr char kRules[] = R"(routes { name: "m"
  rules { label: "both" headers { name: "a" value: "1" } headers { name: "b" value: "2" }
          targets { model: "m" version: "1" weight: 10000 } }
  rules { label: "path" path: "/staging" targets { model: "m" version: "2" weight: 10000 } }
  rules { label: "tenant" tenants: "acme" tenants: "other"
          targets { model: "m" version: "3" weight: 10000 } }
  rules { label: "all" } })";

TEST(RoutingTable, TheFirstRuleThatFitsDecides) {
  const auto table = TableOf(kRules);
  const auto find = [&](RouteQuestion question) {
    const CompiledRule* const rule = table->Find(question);
    return rule == nullptr ? std::string("none") : rule->label;
  };
  const Headers both({{"a", "1"}, {"b", "2"}}), half({{"a", "1"}, {"b", "3"}});
  RouteQuestion question = {"m", ""};
  EXPECT_EQ(find(question), "all");
  question.headers = &half;
  EXPECT_EQ(find(question), "all");
  question.headers = &both;
  EXPECT_EQ(find(question), "both");
  question.path = "/staging";
  EXPECT_EQ(find(question), "both");
  question.headers = &half;
  EXPECT_EQ(find(question), "path");
  question.path = "/staging/x";
  question.tenant = "other";
  EXPECT_EQ(find(question), "tenant");
  question.tenant = "";
  EXPECT_EQ(find(question), "all");
  question.model = "n";
  EXPECT_EQ(find(question), "none");
  EXPECT_TRUE(table->NamesPath("/staging"));
  EXPECT_FALSE(table->NamesPath("/stag"));
  EXPECT_FALSE(table->NamesPath(""));
  EXPECT_EQ(table->Find({"m", ""})->Pick(0), nullptr);  // the latest
}

TEST(RoutingTable, HeadersAreLookedAtWhereARouteAsks) {
  const Headers headers({});
  RouteQuestion question = {"m", ""};
  question.headers = &headers;
  EXPECT_NE(TableOf(Split({{"1", 10'000}}))->Find(question), nullptr);
  EXPECT_FALSE(TableOf(Split({{"1", 10'000}}))->Find(question)->needs_key);
  EXPECT_TRUE(TableOf(Split({{"1", 9999}, {"2", 1}}))->Find(question)->needs_key);
  EXPECT_EQ(headers.looks, 0);
}

TEST(RoutingTable, AConstantIsOneRowManyTimes) {
  const auto table = TableOf(
      R"(routes { name: "m" rules { fallbacks { constant: '{"outputs":['
           '{"name":"p","datatype":"FP64","shape":[1,2],"data":[0.5,-1]},'
           '{"name":"l","datatype":"BYTES","shape":[1,1],"data":["no"]}]}' } } })");
  const auto& chain = table->Find({"m", ""})->fallbacks;
  ASSERT_EQ(chain.size(), 1u);
  std::vector<TensorView> outputs;
  std::vector<std::string> storage;
  std::vector<std::array<int64_t, 2>> shapes;
  ASSERT_TRUE(ExpandConstant(chain[0].constant, {}, 3, &outputs, &storage, &shapes));
  ASSERT_EQ(outputs.size(), 2u);
  EXPECT_THAT(outputs[0].shape, ElementsAre(3, 2));
  double values[6];
  ASSERT_EQ(outputs[0].raw.size(), sizeof values);
  memcpy(values, outputs[0].raw.data(), sizeof values);
  EXPECT_THAT(values, ElementsAre(0.5, -1, 0.5, -1, 0.5, -1));
  EXPECT_EQ(outputs[1].raw, std::string("\2\0\0\0no\2\0\0\0no\2\0\0\0no", 18));
  const std::string_view asked[] = {"l"}, unknown[] = {"l", "x"};
  ASSERT_TRUE(ExpandConstant(chain[0].constant, asked, 1, &outputs, &storage, &shapes));
  EXPECT_EQ(outputs[0].name, "l");
  EXPECT_FALSE(ExpandConstant(chain[0].constant, unknown, 1, &outputs, &storage, &shapes));
}

}  // namespace
}  // namespace millrace
