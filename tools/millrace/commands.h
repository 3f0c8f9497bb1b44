// The subcommands of `millrace`: each adds itself to the application.
//
// Purpose: one function a subcommand; main() knows only these. Who may call: main(), once.
// Invariants: 1. A subcommand runs when the command line named it and was parsed whole, and leaves
//   the process's exit code in `*exit_code`. 2. Answers go to stdout, faults to stderr.
// What fails: with the exit codes below (`serve` is replaced by the keeper and has the server's).
#pragma once

#include <CLI/CLI.hpp>

#include "absl/status/status.h"

namespace millrace {

struct Identity;

inline constexpr int kExitGood = 0;
inline constexpr int kExitNo = 1;         // asked and answered: a difference, a refusal, not ready
inline constexpr int kExitFailed = 2;     // could not be asked: no server, no such file
inline constexpr int kExitBadUsage = 64;  // the command line

// `load` has codes of its own, those of load generators.
inline constexpr int kExitLoadErrors = 1;    // more errors than may be
inline constexpr int kExitLoadUsage = 2;     // the command line, files, no such model
inline constexpr int kExitLoadNoServer = 3;  // nobody answers there

void AddServe(CLI::App* app, int* exit_code);
void AddKey(CLI::App* app, int* exit_code);
void AddLoad(CLI::App* app, int* exit_code);
void AddConfigReference(CLI::App* app, int* exit_code);
void AddStatus(CLI::App* app, int* exit_code);
void AddProfile(CLI::App* app, int* exit_code);
void AddQuarantine(CLI::App* app, int* exit_code);
void AddRoute(CLI::App* app, int* exit_code);
void AddScale(CLI::App* app, int* exit_code);
void AddModel(CLI::App* app, int* exit_code);
// Of `model`: init, check, sign, keygen.
void AddVersionCommands(CLI::App* model, int* exit_code);
void AddRollout(CLI::App* app, int* exit_code);
void AddStop(CLI::App* app, int* exit_code);
void AddTop(CLI::App* app, int* exit_code);
void AddUpgrade(CLI::App* app, int* exit_code);
void AddWaitReady(CLI::App* app, int* exit_code);
void AddInfer(CLI::App* app, int* exit_code);
void AddVerify(CLI::App* app, int* exit_code);

// --api-key, --tls-ca, --tls-cert and --tls-key of a command that asks the server.
void AddIdentityFlags(CLI::App* command, Identity* identity);

// Tells the fault on stderr; kExitFailed.
int Fail(const absl::Status& status);

}  // namespace millrace
