#include "services/observer/console_page.h"

#include <arpa/inet.h>

#include <string>
#include <utility>

namespace millrace {
namespace {

constexpr std::string_view kScript = "text/javascript; charset=utf-8";
constexpr std::string_view kStyle = "text/css; charset=utf-8";

// "localhost", 127.0.0.1 or [::1], each with or without a port. A name could be anybody's.
bool IsAddress(const std::string& host) {
  const size_t open = host.rfind('[', 0) == 0 ? 1 : 0;
  const size_t end = host.find(open == 1 ? ']' : ':');
  if (open == 1 && end == std::string::npos) return false;
  const std::string name = host.substr(open, end == std::string::npos ? end : end - open);
  in6_addr address;
  return host.empty() || name == "localhost" || inet_pton(AF_INET, name.c_str(), &address) == 1 ||
         inet_pton(AF_INET6, name.c_str(), &address) == 1;
}

}  // namespace

const std::vector<ConsoleFile>& ConsoleFiles() {
  static const std::vector<ConsoleFile> files = {
      {
          "/",
          "text/html; charset=utf-8",
#include "services/observer/console/console.html.inc"
      },
      {
          "/console/icon.svg",
          "image/svg+xml",
#include "services/observer/console/icon.svg.inc"
      },
      {
          "/console/page.css",
          kStyle,
#include "services/observer/console/page.css.inc"
      },
      {
          "/console/panels.css",
          kStyle,
#include "services/observer/console/panels.css.inc"
      },
      {
          "/console/base.js",
          kScript,
#include "services/observer/console/base.js.inc"
      },
      {
          "/console/debt.js",
          kScript,
#include "services/observer/console/debt.js.inc"
      },
      {
          "/console/flame.js",
          kScript,
#include "services/observer/console/flame.js.inc"
      },
      {
          "/console/logs.js",
          kScript,
#include "services/observer/console/logs.js.inc"
      },
      {
          "/console/main.js",
          kScript,
#include "services/observer/console/main.js.inc"
      },
      {
          "/console/panels.js",
          kScript,
#include "services/observer/console/panels.js.inc"
      },
      {
          "/console/picture.js",
          kScript,
#include "services/observer/console/picture.js.inc"
      },
      {
          "/console/profile.js",
          kScript,
#include "services/observer/console/profile.js.inc"
      },
      {
          "/console/traces.js",
          kScript,
#include "services/observer/console/traces.js.inc"
      },
  };
  return files;
}

std::string_view ConsoleHeaders() {
  return "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
         "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
         "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'\r\n"
         "Referrer-Policy: no-referrer\r\nCross-Origin-Opener-Policy: same-origin\r\n"
         "Cross-Origin-Resource-Policy: same-origin\r\n";
}

void HandleConsole(HttpServer* server) {
  for (const ConsoleFile& file : ConsoleFiles()) {
    server->Handle(std::string(file.path), Guarded([&file](const HttpRequest&) {
                     HttpReply reply{200, std::string(file.content_type), std::string(file.bytes)};
                     reply.headers = ConsoleHeaders();
                     reply.close = true;
                     return reply;
                   }));
  }
}

HttpServer::Handler Guarded(HttpServer::Handler handler) {
  return [handler = std::move(handler)](const HttpRequest& request) -> HttpReply {
    if (IsAddress(request.host)) return handler(request);
    return {421, "text/plain; charset=utf-8",
            "ask for this machine by its address or as localhost\n"};
  };
}

}  // namespace millrace
