// Flags by which a command says who it is and whom it trusts.
#include "tools/load/identity.h"
#include "tools/millrace/commands.h"

namespace millrace {

void AddIdentityFlags(CLI::App* command, Identity* identity) {
  command
      ->add_option(
          "--api-key", identity->api_key,
          "Shown to the server; better left to the environment, since others see a command "
          "line")
      ->envname("MILLRACE_API_KEY");
  command->add_option("--tls-ca", identity->tls_ca,
                      "PEM file of the authorities that may have signed the server's certificate; "
                      "turns TLS on");
  command->add_option("--tls-cert", identity->tls_cert, "PEM file of this client's certificate");
  command->add_option("--tls-key", identity->tls_key, "PEM file of its key");
}

}  // namespace millrace
