// A catalog, a folder and a desk for tests of routes.
//
// Who may call: one test's thread. Ownership: the folder goes with its object.
#pragma once

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "services/registry/routes/routes_desk.h"

namespace millrace {

inline std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// churn 1, 2, 3 (the latest) alike; 4 with another input; small 1 like churn.
inline std::shared_ptr<const Catalog> RoutesCatalog() {
  auto catalog = std::make_shared<Catalog>();
  for (const auto& [name, version] :
       {std::pair{"churn", "1"}, {"churn", "2"}, {"churn", "3"}, {"churn", "4"}, {"small", "1"}}) {
    Model* model = catalog->add_models();
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
        R"(inputs { name: "input" datatype: 11 dims: 2 }
           outputs { tensor { name: "prediction" datatype: 11 dims: 1 } kind: PREDICTION })",
        model));
    model->set_name(name);
    model->set_version(version);
    model->set_latest(std::string(version) == "3" || std::string(name) == "small");
    if (std::string(version) == "4") model->mutable_inputs(0)->set_dims(0, 5);
  }
  return catalog;
}

class RoutesFolder {
 public:
  RoutesFolder() {
    char name[] = "/tmp/millrace-routes-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~RoutesFolder() { std::filesystem::remove_all(path_); }
  RoutesFolder(const RoutesFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string file() const { return path_ + "/routes.yaml"; }
  void Write(const std::string& text) const { std::ofstream(file()) << text; }

 private:
  std::string path_;
};

// A desk, and what it published.
struct DeskRig {
  explicit DeskRig(const RoutesFolder& folder, std::shared_ptr<const Catalog> catalog = nullptr)
      : desk(folder.file(), {[this](const Routes& routes) { published.push_back(routes); },
                             [this] { return ++now_ms; }}) {
    desk.Start(catalog != nullptr ? catalog : RoutesCatalog());
  }
  RouteOutcome Do(const std::string& command) { return desk.Change(command, "uid:7"); }
  const Routes& last() const { return published.back(); }
  // "1:9500 2:500" of the rule that takes every request.
  std::string Split(const std::string& name) const {
    for (const NamedRoute& route : last().routes()) {
      if (route.name() != name) continue;
      std::string text;
      for (const RouteTarget& target : route.rules().rbegin()->targets()) {
        text +=
            (text.empty() ? "" : " ") + target.version() + ":" + std::to_string(target.weight());
      }
      return text;
    }
    return "none";
  }

  int64_t now_ms = 1'700'000'000'000;
  std::vector<Routes> published;
  RoutesDesk desk;
};

}  // namespace millrace
