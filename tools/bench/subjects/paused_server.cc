#include "tools/bench/subjects/paused_server.h"

#include <signal.h>
#include <time.h>

#include <algorithm>
#include <utility>

#include "tools/bench/subjects/process_stat.h"

namespace millrace {
namespace {

bool Stopped(pid_t pid) {
  const auto stat = ReadProcessStat(pid);
  return !stat.has_value() || stat->state == 'T' || stat->state == 'Z';
}

}  // namespace

std::vector<pid_t> ProcessesOfSession(pid_t session) {
  std::vector<std::pair<uint64_t, pid_t>> found;
  for (const auto& [pid, stat] : AllProcesses()) {
    if (stat.session == session) found.emplace_back(stat.started_ticks, pid);
  }
  std::sort(found.begin(), found.end());
  std::vector<pid_t> pids;
  for (const auto& [ticks, pid] : found) pids.push_back(pid);
  return pids;
}

void PausedServer::Pause() const {
  for (const pid_t pid : ProcessesOfSession(session_)) {
    kill(pid, SIGSTOP);
    while (!Stopped(pid)) {
      const timespec moment = {0, 100'000};
      nanosleep(&moment, nullptr);
    }
  }
}

void PausedServer::Resume() const {
  std::vector<pid_t> pids = ProcessesOfSession(session_);
  std::reverse(pids.begin(), pids.end());
  for (const pid_t pid : pids) kill(pid, SIGCONT);
}

}  // namespace millrace
