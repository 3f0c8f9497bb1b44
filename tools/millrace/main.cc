// The command of Millrace's users. README.md has its page: subcommands and exit codes.
#include <iostream>

#include "tools/millrace/commands.h"

namespace millrace {

int Fail(const absl::Status& status) {
  std::cerr << "millrace: " << status.message() << "\n";
  return kExitFailed;
}

namespace {

int Main(int argc, char** argv) {
  CLI::App app("Millrace serves machine-learning models on this machine.", "millrace");
  app.require_subcommand(1);
  int exit_code = kExitGood;
  for (auto* add : {AddServe, AddStatus, AddDebt, AddTop, AddLogs, AddProfile, AddQuarantine,
                    AddWaitReady, AddScale, AddModel, AddRoute, AddRollout, AddUpgrade, AddStop,
                    AddInfer, AddVerify, AddLoad, AddKey, AddConfigReference}) {
    add(&app, &exit_code);
  }
  if (argc < 2) {
    std::cerr << app.help();
    return kExitBadUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (app.exit(error) == 0) return kExitGood;
    return app.got_subcommand("load") ? kExitLoadUsage : kExitBadUsage;
  }
  return exit_code;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
