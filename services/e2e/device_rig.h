// A server with a device plug-in under test, whichever that is.
//
// Purpose: the bodies of tests that hold for every plug-in: the fake one, and the real one over a
//   host's stand-in for the driver. Faults are the plug-in's own matter: by a file or the
//   environment, which every process of the tree inherits.
// Who may call: the test's thread. What fails: the test.
#pragma once

#include <string>

#include "services/e2e/tree.h"

namespace millrace {

// Everything on the device, unmeasured: however slow it is, it is used. `more`: further lines of
// the section `execution`, each with two blanks before it.
Tree::Options WithPlugin(const std::string& path, const std::string& more = "");

// What the status says of "execution0".
nlohmann::json DeviceOf(Tree& tree);  // cpu, device, state, why_not
uint64_t ExecutionCounter(Tree& tree, const std::string& name);

// Requests to every kind of demo model, in flight together, of one row and of many: each is
// answered, and each answer is the library's, bit by bit.
void ExpectServesRight(Tree& tree, int requests = 40);

// A worker that loses its device ends with its code, its requests are answered elsewhere, and after
// three losses in a row it serves from the CPU. `tree` has a plug-in that loses its device in each
// process, sooner or later while requests are served.
void ExpectOutlivesLostDevices(Tree& tree);

}  // namespace millrace
