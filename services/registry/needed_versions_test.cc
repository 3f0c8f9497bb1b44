// What is never evicted, however long nobody asked for it.
#include "services/registry/needed_versions.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

Catalog TwoOfEach() {
  Catalog catalog;
  uint32_t route = 0;
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    for (const char* version : {"1", "2"}) {
      Model* model = catalog.add_models();
      model->set_name(name);
      model->set_version(version);
      model->set_route(++route);
      model->set_latest(version == std::string("2"));
    }
  }
  return catalog;
}

NamedRoute Route(const std::string& text) {
  NamedRoute route;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &route));
  return route;
}

TEST(NeededVersionsTest, WithoutRoutesNothingIs) {
  EXPECT_EQ(NeededVersions(TwoOfEach(), {}, {}), std::set<VersionName>());
}

TEST(NeededVersionsTest, WhateverARouteMaySendARequestTo) {
  const NamedRoute route = Route(R"(
    name: "champion"
    rules {
      targets { model: "a" version: "1" weight: 9000 }
      targets { model: "b" version: "2" weight: 1000 }
      shadows { model: "c" version: "1" parts: 10000 }
      fallbacks { target { model: "d" version: "1" } }
      fallbacks { constant: "[]" }
    }
    rules { targets { model: "e" } })");
  EXPECT_EQ(NeededVersions(TwoOfEach(), {route}, {}),
            (std::set<VersionName>{{"a", "1"}, {"b", "2"}, {"c", "1"}, {"d", "1"}, {"e", "2"}}));
}

// The first rule that matches decides; where none does it is the model's latest version.
TEST(NeededVersionsTest, ARouteOfAModelsNameNeedsItsLatestVersionToo) {
  const NamedRoute route = Route(R"(name: "a" rules { targets { model: "a" version: "1" } })");
  EXPECT_EQ(NeededVersions(TwoOfEach(), {route}, {}),
            (std::set<VersionName>{{"a", "1"}, {"a", "2"}}));
}

TEST(NeededVersionsTest, WhatARolloutWatchesAndAnEnsembleJoins) {
  WatchVersions watched;
  watched.add_versions()->set_model("b");
  watched.mutable_versions(0)->set_version("1");
  Catalog catalog = TwoOfEach();
  Model* ensemble = catalog.add_models();
  ensemble->set_name("joined");
  ensemble->set_version("1");
  for (const uint32_t route : {2u, 8u}) ensemble->add_members()->set_route(route);
  EXPECT_EQ(NeededVersions(catalog, {}, watched),
            (std::set<VersionName>{{"a", "2"}, {"b", "1"}, {"d", "2"}}));
}

}  // namespace
}  // namespace millrace
