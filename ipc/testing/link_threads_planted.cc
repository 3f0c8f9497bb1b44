// A link with a release forgotten, by name; built with TSan and run by
// link_threads_planted_test.sh.
#include <stdio.h>
#include <string.h>

#include "ipc/testing/link_threads.h"

namespace millrace {
namespace {

template <typename M>
int Run() {
  const ThreadsDone done = LinkThreads<M>().Run(5'000, 1);
  printf("%lu messages arrived\n", static_cast<unsigned long>(done.inlined + done.blocks));
  return 0;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  const char* fault = argc > 1 ? argv[1] : "";
  if (strcmp(fault, "none") == 0) return millrace::Run<millrace::Hardware>();
  if (strcmp(fault, "submit") == 0) return millrace::Run<millrace::Unreleased<uint32_t>>();
  if (strcmp(fault, "return") == 0) return millrace::Run<millrace::Unreleased<uint64_t>>();
  return 2;
}
