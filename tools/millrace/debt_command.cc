// `millrace debt`: what is owed on the versions that are served.
#include <algorithm>
#include <array>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "tools/millrace/admin_client.h"
#include "tools/millrace/commands.h"

namespace millrace {
namespace {

using nlohmann::json;

constexpr int64_t kAnswerMs = 10'000;

struct DebtOptions {
  std::string socket = DefaultAdminSocket();
  bool as_json = false;
  bool fail = false;
  int64_t max_age_days = -1, max_untagged_percent = -1;
};

void Print(const json& answer) {
  const json& debt = answer.at("debt");
  std::array<size_t, 3> widths = {5, 7, 4};
  std::vector<std::array<std::string, 4>> rows = {{"MODEL", "VERSION", "KIND", "WHAT"}};
  for (const json& item : debt) {
    const std::string owner = item.at("owner");
    rows.push_back({item.at("model"), item.at("version"), item.at("kind"),
                    absl::StrCat(item.at("sentence").get<std::string>(),
                                 owner.empty() ? "" : absl::StrCat(" (", owner, ")"))});
    for (size_t c = 0; c < widths.size(); ++c) {
      widths[c] = std::max(widths[c], rows.back()[c].size());
    }
  }
  for (size_t r = debt.empty() ? 1 : 0; r < rows.size(); ++r) {
    for (size_t c = 0; c < widths.size(); ++c) {
      std::cout << rows[r][c] << std::string(widths[c] + 2 - rows[r][c].size(), ' ');
    }
    std::cout << rows[r][3] << "\n";
  }
  std::cout << answer.at("versions").size() << " versions, " << debt.size()
            << (debt.size() == 1 ? " debt\n" : " debts\n");
}

int Debt(const DebtOptions& options) {
  json question = {{"verb", "debt"}};
  if (options.max_age_days >= 0) question["max_age_days"] = options.max_age_days;
  if (options.max_untagged_percent >= 0) {
    question["max_untagged_percent"] = options.max_untagged_percent;
  }
  const absl::StatusOr<json> answer = AskAdmin(options.socket, question, kAnswerMs);
  if (!answer.ok()) return Fail(answer.status());
  try {
    const bool owed = !answer->at("debt").empty();
    if (options.as_json) {
      std::cout << answer->dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
    } else {
      Print(*answer);
    }
    return owed && options.fail ? kExitNo : kExitGood;
  } catch (const json::exception&) {
    return Fail(absl::InternalError("the server's answer has another form"));
  }
}

}  // namespace

void AddDebt(CLI::App* app, int* exit_code) {
  auto options = std::make_shared<DebtOptions>();
  CLI::App* debt = app->add_subcommand(
      "debt",
      "List what is owed on the versions that are served: old weights, missing tags, "
      "signatures and pins, single workers");
  debt->add_option("--admin-socket", options->socket, "The server's admin socket")
      ->capture_default_str();
  debt->add_flag("--json", options->as_json, "As JSON, with the age of each version's weights");
  debt->add_flag("--fail", options->fail, "Exit code 1 where anything is owed");
  debt->add_option("--max-age-days,--max_age_days", options->max_age_days,
                   "Age of weights, instead of the configuration's; 0: any")
      ->check(CLI::Range(0, 36'500));
  debt->add_option("--max-untagged-percent,--max_untagged_percent", options->max_untagged_percent,
                   "Share of inputs without a tag, instead of the configuration's")
      ->check(CLI::Range(0, 100));
  debt->callback([=] { *exit_code = Debt(*options); });
}

}  // namespace millrace
