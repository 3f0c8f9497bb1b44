// `millrace profile`: where a process of the server spends its CPU time, or what holds its heap.
#include <fstream>
#include <iostream>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/profile.h"
#include "tools/millrace/admin_client.h"
#include "tools/millrace/commands.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int64_t kPatienceMs = 25'000;  // past the profile's end
constexpr double kMsPerSecond = 1e3, kMebibyte = 1 << 20;

struct ProfileOptions {
  std::string socket = DefaultAdminSocket();
  std::string process;
  double seconds = 10;
  bool heap = false;
  size_t top = 20;
  std::string output;
  std::string folded;
};

// "execution1": the stage, and which of its processes.
absl::StatusOr<json> QuestionOf(const ProfileOptions& options) {
  const size_t digits = options.process.find_first_of("0123456789");
  uint32_t index = 0;
  if (digits != std::string::npos && !absl::SimpleAtoi(options.process.substr(digits), &index)) {
    return absl::InvalidArgumentError(
        "process: must be a stage, or one of its processes, as in execution1");
  }
  json question = {
      {"verb", "profile"}, {"stage", options.process.substr(0, digits)}, {"index", index}};
  if (options.heap) {
    question["kind"] = "heap";
  } else {
    question["duration_ms"] = static_cast<uint32_t>(options.seconds * kMsPerSecond);
  }
  return question;
}

absl::Status WriteFile(const std::string& path, const std::string& bytes) {
  if (path.empty()) return absl::OkStatus();
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  if (file.flush()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be written"));
}

absl::StatusOr<Profile> Ask(const ProfileOptions& options) {
  const absl::StatusOr<json> question = QuestionOf(options);
  if (!question.ok()) return question.status();
  const auto wait_ms = static_cast<int64_t>(options.seconds * kMsPerSecond) + kPatienceMs;
  const absl::StatusOr<json> answer = AskAdmin(options.socket, *question, wait_ms);
  if (!answer.ok()) return answer.status();
  const auto text = answer->find("profile");
  std::string bytes;
  Profile profile;
  if (text == answer->end() || !text->is_string() ||
      !absl::Base64Unescape(text->get<std::string>(), &bytes) || !profile.ParseFromString(bytes)) {
    return absl::InternalError("the server's answer holds no profile");
  }
  return profile;
}

void PrintTable(const Profile& profile, size_t top) {
  const std::vector<ProfileLine> table = ProfileTable(profile);
  int64_t all = 0;
  for (const ProfileLine& line : table) all += line.self;
  if (IsOfBytes(profile)) {
    std::cout << absl::StreamFormat("%.2f MiB of the heap, by samples\n", all / kMebibyte);
  } else {
    std::cout << absl::StreamFormat("%.2f s of CPU time in %.2f s\n", all / 1e9,
                                    profile.duration_nanos() / 1e9);
  }
  if (all == 0) return;
  std::cout << "   self   total  function\n";
  for (size_t i = 0; i < std::min(top, table.size()); ++i) {
    std::cout << absl::StreamFormat("%6.1f%% %6.1f%%  %s\n", 100.0 * table[i].self / all,
                                    100.0 * table[i].total / all, table[i].function);
  }
}

int TakeProfile(const ProfileOptions& options) {
  const absl::StatusOr<Profile> profile = Ask(options);
  if (!profile.ok()) {
    const int code = Fail(profile.status());
    return absl::IsFailedPrecondition(profile.status()) ? kExitNo : code;
  }
  for (const absl::Status& written : {WriteFile(options.output, Pack(*profile)),
                                      WriteFile(options.folded, FoldedStacks(*profile))}) {
    if (!written.ok()) return Fail(written);
  }
  PrintTable(*profile, options.top);
  return kExitGood;
}

}  // namespace

void AddProfile(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<ProfileOptions>();
  CLI::App* command = app->add_subcommand(
      "profile",
      "Show which functions take the CPU time of a process, or hold its heap, while it serves");
  command->add_option("process", options->process, "A stage, or one of its processes: execution1")
      ->required();
  command->add_option("--admin-socket", options->socket, "The server's admin socket")
      ->capture_default_str();
  command->add_option("--seconds", options->seconds, "How long to look")
      ->check(CLI::Range(0.001, 300.0))
      ->capture_default_str();
  command->add_flag("--heap", options->heap,
                    "What holds its heap now; the configuration has <stage>.heap_profile: true");
  command->add_option("--top", options->top, "Functions that are shown")->capture_default_str();
  command->add_option("--output", options->output, "Write it there as pprof reads it");
  command->add_option("--folded", options->folded,
                      "Write its stacks there, one a line, as flame graphs are drawn from");
  command->callback([=] { *exit_code = TakeProfile(*options); });
}

}  // namespace millrace
