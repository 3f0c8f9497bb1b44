// The console's page: the files of console/, as they are, in this program.
//
// Purpose: one page with no network and no step of a build beyond embedding. Who may call: any
//   thread. Ownership: the files live as long as the program.
// Invariants: 1. the policy lets the page load and ask this server alone, and run no script that
//   stands in markup. 2. what is served is what is committed, byte by byte. 3. a page of elsewhere
//   that has its own name point to this machine reads nothing: Guarded answers those who ask for
//   this machine by an address or as localhost.
// Nothing fails.
#pragma once

#include <string_view>
#include <vector>

#include "services/observer/http_server.h"

namespace millrace {

struct ConsoleFile {
  std::string_view path;  // as it is asked for
  std::string_view content_type;
  std::string_view bytes;
};

const std::vector<ConsoleFile>& ConsoleFiles();

// Header lines of every file.
std::string_view ConsoleHeaders();

void HandleConsole(HttpServer* server);

// The handler, for those alone who may see it.
HttpServer::Handler Guarded(HttpServer::Handler handler);

}  // namespace millrace
