// A real browser of a test: Debian's chromium, driven by its chromedriver (W3C WebDriver over
// HTTP).
//
// Purpose: see and press what a person would. Who may call: the test's thread, one call at a time.
// Ownership: the driver, and with it the browser, ends with the object. Invariants: 1. its profile
//   and cache lie in the test's own folder. 2. What the page or the browser complains of is kept
//   for Complaints.
// What fails: a browser that cannot be had or does not answer ends the test.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "services/e2e/child.h"

namespace millrace {

class Browser {
 public:
  Browser();
  ~Browser();
  Browser(const Browser&) = delete;
  Browser& operator=(const Browser&) = delete;

  // Runs before the scripts of each page that is opened from now on; what an earlier call said is
  // taken back. Empty: nothing runs.
  void RunFirst(const std::string& script);
  void Open(const std::string& url);
  // The body of a function; what it returns.
  nlohmann::json Run(const std::string& script,
                     const nlohmann::json& arguments = nlohmann::json::array());
  // In CSS pixels; `phone`: as a phone shows pages.
  void Resize(int width, int height, bool phone = false);
  // "light" or "dark": what the person's system prefers.
  void Prefer(const std::string& scheme);
  // A key to what has the focus: a letter, or one of the names below.
  void Press(const std::string& key);
  // Chooses a file in the page's <input type=file>.
  void ChooseFile(const std::string& selector, const std::string& path);
  // The whole page at this width, or what the window shows, as `name`.png among the test's outputs.
  void Shoot(const std::string& name, bool whole = true);
  // Errors and broken rules (CSP) since the last call.
  std::vector<std::string> Complaints();

  static constexpr char kTab[] = "\ue004", kEnter[] = "\ue007", kEscape[] = "\ue00c",
                        kDown[] = "\ue015", kUp[] = "\ue013", kRight[] = "\ue014";

 private:
  nlohmann::json Call(const std::string& path, const nlohmann::json& body);
  nlohmann::json Devtools(const std::string& command, const nlohmann::json& parameters);

  std::string address_;
  std::unique_ptr<Child> driver_;
  std::string session_;  // the path of its session
  std::string first_;    // what RunFirst added
  int width_ = 1280;
  bool phone_ = false;
};

}  // namespace millrace
