// `millrace key new`.
#include <iostream>
#include <memory>
#include <string>

#include "tools/millrace/api_key.h"
#include "tools/millrace/commands.h"

namespace millrace {

void AddKey(CLI::App* app, int* exit_code) {
  CLI::App* key = app->add_subcommand("key", "API keys");
  key->require_subcommand(1);
  CLI::App* fresh = key->add_subcommand(
      "new",
      "Make a key: its first line is the key, which is shown once and stored nowhere; what follows "
      "is its entry, to put under `keys:` in the file that ingress.keys_file names");
  auto name = std::make_shared<std::string>();
  auto scopes = std::make_shared<std::string>("infer");
  fresh->add_option("NAME", *name, "Whose it is")->required();
  fresh->add_option("--scopes", *scopes, "What it may: infer, admin, metrics")
      ->capture_default_str();
  fresh->callback([=] {
    const std::string fresh_key = NewApiKey();
    const absl::StatusOr<std::string> entry = ApiKeyEntry(*name, *scopes, fresh_key);
    if (!entry.ok()) {
      Fail(entry.status());
      *exit_code = kExitBadUsage;
      return;
    }
    std::cout << fresh_key << "\n\n" << *entry;
    *exit_code = kExitGood;
  });
}

}  // namespace millrace
