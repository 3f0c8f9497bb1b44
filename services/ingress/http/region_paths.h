// Answers to the paths about clients' shared memory.
//
// Purpose: Route and body to what ClientRegions does, and to the answers about CUDA's memory, of
//   which there is none. Who may call: one thread. Ownership: borrows the regions.
// Fails never: an error is a code with {"error": ...}.
#pragma once

#include <string>

#include "services/ingress/client_shm/regions.h"
#include "services/ingress/http/describe.h"
#include "services/ingress/http/json_reader.h"

namespace millrace::http {

class RegionPaths {
 public:
  // Null: shared memory is not allowed.
  explicit RegionPaths(ClientRegions* regions = nullptr) : regions_(regions) {}

  bool allowed() const { return regions_ != nullptr && regions_->allowed(); }

  // `route.of_regions()`. The body needs kBodyPadding bytes of capacity past its size where it is
  // not empty (body.h); all but a registration ignore it.
  Description Answer(const Route& route, const std::string& body);

 private:
  absl::Status Register(const std::string& region, const std::string& body);
  absl::StatusOr<std::string> StatusJson(const std::string& region) const;

  ClientRegions* regions_;
  JsonReader reader_;
};

}  // namespace millrace::http
