// `millrace top`: the pipeline in a terminal, from the same numbers as the console.
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tools/load/http_connection.h"
#include "tools/millrace/commands.h"
#include "tools/millrace/find_observer.h"
#include "tools/millrace/top_report.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int64_t kAnswerMs = 5'000;
constexpr double kMsPerSecond = 1e3;

struct TopOptions {
  ObserverOptions observer;
  bool once = false;
  bool as_json = false;
  double interval_s = 1;
};

volatile sig_atomic_t g_ended = 0;

// The screen that was there comes back at the end, whatever ends it.
class Terminal {
 public:
  Terminal() {
    struct sigaction action = {};
    action.sa_handler = [](int) { g_ended = 1; };
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
    keys_ = isatty(STDIN_FILENO) != 0 && tcgetattr(STDIN_FILENO, &before_) == 0;
    if (keys_) {
      termios now = before_;
      now.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
      tcsetattr(STDIN_FILENO, TCSANOW, &now);
    }
    std::cout << "\033[?1049h\033[?25l" << std::flush;
  }
  ~Terminal() {
    std::cout << "\033[?25h\033[?1049l" << std::flush;
    if (keys_) tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }

  static TopScreen Screen() {
    winsize size = {};
    TopScreen screen;
    screen.colour = getenv("NO_COLOR") == nullptr;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
      screen.columns = size.ws_col;
      screen.lines = size.ws_row > 1 ? size.ws_row - 1u : 1u;
    }
    return screen;
  }
  // Each line to its end, then what was below: nothing flickers.
  static void Show(const std::string& text) {
    std::cout << "\033[H" << absl::StrReplaceAll(text, {{"\n", "\033[K\n"}}) << "\033[J"
              << std::flush;
  }
  // Waits; false: the person wants no more.
  bool Wait(double seconds) const {
    pollfd keyboard = {keys_ ? STDIN_FILENO : -1, POLLIN, 0};
    const int ready = poll(&keyboard, 1, static_cast<int>(seconds * kMsPerSecond));
    char key = 0;
    if (ready > 0 && (read(STDIN_FILENO, &key, 1) <= 0 || key == 'q')) return false;
    return g_ended == 0;
  }

 private:
  termios before_ = {};
  bool keys_ = false;
};

absl::StatusOr<std::string> Ask(const TopOptions& options) {
  const absl::StatusOr<std::string> address = FindObserver(options.observer);
  if (!address.ok()) return address.status();
  return HttpConnection(*address, kAnswerMs).Get("/api/pipeline");
}

absl::StatusOr<std::string> AskAndRender(const TopOptions& options, const TopScreen& screen) {
  const absl::StatusOr<std::string> text = Ask(options);
  if (!text.ok()) return text.status();
  return RenderTop(json::parse(*text, nullptr, /*allow_exceptions=*/false), screen);
}

int Refuse(const absl::Status& status) {
  const int code = Fail(status);
  return absl::IsFailedPrecondition(status) ? kExitNo : code;
}

int Once(const TopOptions& options) {
  const absl::StatusOr<std::string> text =
      options.as_json ? Ask(options) : AskAndRender(options, TopScreen{});
  if (!text.ok()) return Refuse(text.status());
  std::cout << *text << (options.as_json ? "\n" : "");
  return kExitGood;
}

int Top(const TopOptions& options) {
  if (options.once || options.as_json || isatty(STDOUT_FILENO) == 0) return Once(options);
  // A server that is not there is said at once; one that goes is waited for.
  const absl::StatusOr<std::string> first = AskAndRender(options, TopScreen{});
  if (!first.ok()) return Refuse(first.status());
  const Terminal terminal;
  do {
    const absl::StatusOr<std::string> text = AskAndRender(options, Terminal::Screen());
    Terminal::Show(text.ok() ? *text : absl::StrCat("millrace: ", text.status().message(), "\n"));
  } while (terminal.Wait(options.interval_s));
  return kExitGood;
}

}  // namespace

void AddTop(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<TopOptions>();
  CLI::App* command = app->add_subcommand(
      "top", "Show the pipeline as it runs: rates, waits, processes, models (q ends it)");
  AddObserverFlags(command, &options->observer);
  command->add_option("--interval", options->interval_s, "Seconds between two looks")
      ->check(CLI::Range(0.2, 60.0))
      ->capture_default_str();
  command->add_flag("--once", options->once, "One look, as text");
  command->add_flag("--json", options->as_json, "One look, as JSON");
  command->callback([=] { *exit_code = Top(*options); });
}

}  // namespace millrace
