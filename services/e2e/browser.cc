#include "services/e2e/browser.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "common/check.h"
#include "services/e2e/http_call.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int kTries = 1'200;  // of kPause: a minute
constexpr auto kPause = std::chrono::milliseconds(50);

bool Listens(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_port = htons(static_cast<uint16_t>(port));
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool listens = connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0;
  close(fd);
  return listens;
}

std::string Folder(const char* variable) {
  const char* folder = getenv(variable);
  return folder == nullptr ? "/tmp" : folder;
}

std::string FromBase64(const std::string& text) {
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const std::string_view alphabet =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const size_t value = alphabet.find(c);
    if (value == std::string_view::npos) continue;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xff);
  }
  return bytes;
}

}  // namespace

Browser::Browser() {
  const int port = FreePort();
  const std::string folder = Folder("TEST_TMPDIR") + "/browser" + std::to_string(port);
  std::filesystem::create_directories(folder);
  setenv("HOME", folder.c_str(), 1);  // the browser writes there, whatever it is told
  address_ = "127.0.0.1:" + std::to_string(port);
  driver_ = std::make_unique<Child>(
      std::vector<std::string>{"/usr/bin/chromedriver", "--port=" + std::to_string(port),
                               "--log-level=SEVERE"},
      /*capture=*/false);
  for (int i = 0; !Listens(port); ++i) {
    MR_CHECK(i < kTries && !driver_->Poll().has_value(), "chromedriver listens");
    std::this_thread::sleep_for(kPause);
  }
  const json options = {
      {"binary", "/usr/bin/chromium"},
      {"args", json::array({"--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                            "--no-first-run", "--disable-background-networking",
                            "--disable-component-update", "--disable-sync",
                            "--user-data-dir=" + folder + "/profile"})}};
  const json session =
      Call("/session",
           {{"capabilities",
             {{"alwaysMatch",
               {{"goog:chromeOptions", options}, {"goog:loggingPrefs", {{"browser", "ALL"}}}}}}}});
  session_ = "/session/" + session["sessionId"].get<std::string>();
}

Browser::~Browser() {
  HttpCall(address_, "/shutdown", "").Finish();  // with its browser
  driver_->Signal(SIGTERM);
  driver_->Wait();
}

json Browser::Call(const std::string& path, const json& body) {
  const HttpAnswer answer =
      HttpCall(address_, path, body.dump(), "Content-Type: application/json\r\n").Finish();
  const json reply = answer.Json();
  if (answer.code != 200 || !reply.is_object()) {
    fprintf(stderr, "%s %s: %d %s\n", path.c_str(), body.dump().substr(0, 500).c_str(), answer.code,
            answer.body.substr(0, 2'000).c_str());
    MR_CHECK(false, "the browser does what the test asks");
  }
  return reply["value"];
}

json Browser::Devtools(const std::string& command, const json& parameters) {
  return Call(session_ + "/goog/cdp/execute", {{"cmd", command}, {"params", parameters}});
}

void Browser::RunFirst(const std::string& script) {
  if (!first_.empty()) {
    Devtools("Page.removeScriptToEvaluateOnNewDocument", {{"identifier", first_}});
    first_.clear();
  }
  if (script.empty()) return;
  first_ = Devtools("Page.addScriptToEvaluateOnNewDocument", {{"source", script}})["identifier"];
}

void Browser::Open(const std::string& url) { Call(session_ + "/url", {{"url", url}}); }

json Browser::Run(const std::string& script, const json& arguments) {
  return Call(session_ + "/execute/sync", {{"script", script}, {"args", arguments}});
}

void Browser::Resize(int width, int height, bool phone) {
  width_ = width;
  phone_ = phone;
  Devtools("Emulation.setDeviceMetricsOverride",
           {{"width", width}, {"height", height}, {"deviceScaleFactor", 1}, {"mobile", phone}});
}

void Browser::Prefer(const std::string& scheme) {
  Devtools(
      "Emulation.setEmulatedMedia",
      {{"features", json::array({json{{"name", "prefers-color-scheme"}, {"value", scheme}}})}});
}

void Browser::Press(const std::string& key) {
  const json presses = json::array(
      {json{{"type", "keyDown"}, {"value", key}}, json{{"type", "keyUp"}, {"value", key}}});
  const json keyboard = {{"type", "key"}, {"id", "keyboard"}, {"actions", presses}};
  Call(session_ + "/actions", {{"actions", json::array({keyboard})}});
}

void Browser::ChooseFile(const std::string& selector, const std::string& path) {
  const json element =
      Call(session_ + "/element", {{"using", "css selector"}, {"value", selector}});
  Call(session_ + "/element/" + element.begin()->get<std::string>() + "/value",
       {{"text", std::filesystem::absolute(path).string()}});
}

void Browser::Shoot(const std::string& name, bool whole) {
  const int height = Run("return innerHeight");
  if (whole) {
    Resize(width_, Run("return document.documentElement.scrollHeight"), phone_);
    // Drawn anew at that size.
    Call(session_ + "/execute/async",
         {{"script", "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"},
          {"args", json::array()}});
  }
  const json shot = Devtools("Page.captureScreenshot", {{"format", "png"}});
  std::ofstream(Folder("TEST_UNDECLARED_OUTPUTS_DIR") + "/" + name + ".png", std::ios::binary)
      << FromBase64(shot["data"].get<std::string>());
  if (whole) Resize(width_, height, phone_);
}

std::vector<std::string> Browser::Complaints() {
  std::vector<std::string> complaints;
  for (const json& line : Call(session_ + "/se/log", {{"type", "browser"}})) {
    if (line["level"] == "SEVERE" || line["level"] == "WARNING") {
      complaints.push_back(line["message"]);
    }
  }
  return complaints;
}

}  // namespace millrace
