// A compiler that was taken over, for tests of whoever starts one: it enters the sandbox as the
// compiler does, reads the name of an attack from its "model", and does that.
//
//   hostile_compiler --list                          the names
//   hostile_compiler --model_fd=N --plan_fd=M ...    the compiler's own command line
//
// If it comes back it reports a plan as if nothing were wrong. Beside the attacks it knows: `sleep`
// (for ever), `flood` (its output, for ever), `lie` (a plan longer than it wrote), `mute`.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "kernels/compile/sandbox.h"
#include "kernels/compile/testing/attacks.h"

namespace millrace {
namespace {

constexpr char kReport[] =
    "{\"ok\":true,\"format\":\"xgboost_json\",\"features\":2,\"groups\":1,\"margin_dtype\":"
    "\"FP32\","
    "\"prediction_dtype\":\"FP32\",\"prediction_columns\":1,\"objective\":\"reg:squarederror\","
    "\"trees\":1,\"nodes\":1,\"plan_bytes\":4,\"feature_names\":[]}\n";

uint64_t Flag(int argc, char** argv, const char* name) {
  const std::string start = std::string("--") + name + "=";
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]).rfind(start, 0) == 0)
      return strtoull(argv[i] + start.size(), nullptr, 10);
  }
  return 0;
}

void Report(const char* text) { (void)!write(STDOUT_FILENO, text, strlen(text)); }

void Do(const std::string& name, const Hostage& hostage) {
  for (const Attack& attack : Attacks()) {
    if (name == attack.name) attack.act(hostage);
  }
  for (const Excess& excess : Excesses()) {
    if (name == excess.name) excess.act(hostage);
  }
  int word = 0;
  if (name == "sleep") {
    Report("asleep\n");
    for (;;) syscall(SYS_futex, &word, 0 /* FUTEX_WAIT */, 0, nullptr, nullptr, 0);
  }
  if (name == "flood") {
    for (;;) Report("a long line of nothing in particular\n");
  }
}

int Main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "--list") == 0) {
    for (const Attack& attack : Attacks()) puts(attack.name);
    for (const Excess& excess : Excesses()) puts(excess.name);
    puts("sleep\nflood\nlie\nmute");
    return 0;
  }
  const Hostage hostage = {static_cast<int>(Flag(argc, argv, "model_fd")),
                           static_cast<int>(Flag(argc, argv, "plan_fd")), getppid()};
  const absl::Status status =
      EnterSandbox({.model_fd = hostage.model_fd,
                    .plan_fd = hostage.plan_fd,
                    .max_memory_bytes = Flag(argc, argv, "max_memory_mb") << 20,
                    .max_cpu_s = Flag(argc, argv, "max_cpu_s")});
  if (!status.ok()) return 1;
  char name[64] = {};
  if (pread(hostage.model_fd, name, sizeof name - 1, 0) < 0) return 1;
  Do(name, hostage);
  if (strcmp(name, "lie") != 0 && pwrite(hostage.plan_fd, "PLAN", 4, 0) != 4) return 1;
  if (strcmp(name, "mute") != 0) Report(kReport);
  _exit(0);
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) { return millrace::Main(argc, argv); }
