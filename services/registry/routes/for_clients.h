// What a client of ingress is told of routes: what the admin socket is told, without files' names.
//
// Purpose: an answer over the network names no path of this machine. Who may call: any thread.
// Nothing fails: what cannot be read is left out.
#pragma once

#include <string>

#include "services/registry/routes/routes_desk.h"

namespace millrace {

// `file`: routes.yaml, as the desk was given it.
RouteOutcome ForClients(RouteOutcome outcome, const std::string& file);

}  // namespace millrace
