// A server under load and a browser on its console, for the tests of the console.
//
// Purpose: one of each for all tests. Who may call: tests, in one binary. Ownership: the suite's.
// Invariant: a test ends with no complaint of the browser.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "services/e2e/browser.h"
#include "services/e2e/tree.h"

namespace millrace {

// One server, one load through all of its stages, one browser.
class ConsoleTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    Tree::Options options;
    options.config =
        "execution: {workers: 2}\n"
        "ingress: {heap_profile: true}\n"
        "tracing: {slow_ms: 300}\n"
        "faults: {rules: [{stage: execution, kind: delay, delay_ms: 400, header: slow}]}\n";
    options.enable_faults = true;
    tree_ = Tree::Start(options).release();
    load_ = new GoldenLoad(
        *tree_, "randhie", true,
        {"--in_flight=2", "--duration_ms=0", "--retries=50", "--deadline_ms=60000"}, "grpc");
    browser_ = new Browser;
  }
  static void TearDownTestSuite() {
    delete browser_;
    EXPECT_EQ(load_->End()["failed"], 0);
    delete load_;
    EXPECT_EQ(tree_->Stop(), 0);
    delete tree_;
  }

  void SetUp() override {
    browser_->RunFirst("");
    browser_->Resize(1280, 900);
    browser_->Prefer("light");
  }
  void TearDown() override { EXPECT_THAT(Faults(), testing::IsEmpty()); }

  static void Open() { browser_->Open("http://" + tree_->Address("metrics") + "/"); }

  // A page whose answers to `path` are this instead of the server's.
  static void OpenWith(const std::map<std::string, nlohmann::json>& answers) {
    const nlohmann::json table = answers;
    browser_->RunFirst("const real = window.fetch, table = " + table.dump() + R"(;
        window.fetch = (url, options) => {
          const body = table[String(url).split('?')[0]];
          return body ? Promise.resolve(Response.json(body)) : real(url, options);
        };)");
    Open();
  }

  static void WaitUntil(const char* what, const std::string& expression) {
    tree_->WaitUntil(what, [&] { return browser_->Run("return !!(" + expression + ")") == true; });
  }

  // All that the page or the browser complained of.
  static std::vector<std::string> Faults() { return browser_->Complaints(); }

  static std::string Text(const std::string& selector) {
    return browser_->Run("return document.querySelector(arguments[0])?.textContent ?? ''",
                         {selector});
  }

  static inline Tree* tree_ = nullptr;
  static inline GoldenLoad* load_ = nullptr;
  static inline Browser* browser_ = nullptr;
};

}  // namespace millrace
