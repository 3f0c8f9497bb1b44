// `registry check|init|sign|keygen`: what people do with a version before a server sees it.
//
// Purpose: `millrace model ...` runs this program for it, so that what is checked by hand is what
//   the server checks. Who may call: main(), instead of a registry.
// Invariants: 1. A file is written beside its place and renamed, or nothing is left behind.
//   2. No file is overwritten but by `sign`, and by `init --force`.
// What fails: exit code 1 where the answer is no (faults are told, each on a line), 2 where it
// could
//   not be asked, 64 for the command line.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace millrace {

// Whether the first word of the command line is one of these.
bool IsModelTool(const std::string& word);

int RunModelTool(const std::vector<std::string>& words, std::ostream& out, std::ostream& err);

}  // namespace millrace
