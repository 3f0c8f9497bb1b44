// The shared-memory regions that clients have registered: Triton's extension, for both protocols.
//
// Purpose: a client names a region once; requests then name places in it, from which an input is
//   read and into which an output is written. Protocols turn their words into these calls.
// Who may call: any thread. One object serves all lanes of a process.
// Ownership: a region is an open descriptor, shared by the table and by the requests that use it;
//   it is closed when the last of them lets go. Unregistering takes a region out of the table and
//   leaves requests in flight alone.
// Invariants:
//   1. A region is never mapped. It is read by pread and written by pwrite, so that a client that
//      truncates or fills it gets an error, and this process no SIGBUS.
//   2. Only a plain file directly under the folder (/dev/shm) can be registered: one path element,
//      no link of either kind, on the folder's own file system, under one of the prefixes, and one
//      that the server's user may read and write by its mode (also where the server is root, whom
//      the kernel would not hold back). Memory without a name is out of reach.
//   3. Each offset and size is checked without overflow against the region as registered, and by
//      the kernel against the file as it is. A write never makes a file larger, unless its own
//      client shrinks it at the same instant; then by no more than the region as registered.
//   4. What was read is private: a client that writes meanwhile changes nothing that was checked.
//   5. One mutex guards the table. It is held for a look-up or a change of the map, never while a
//      file is opened, read or written: about 50 ns a tensor, beside a system call for its bytes.
//      Requests that name no region do not take it.
// What fails: Register with INVALID_ARGUMENT, ALREADY_EXISTS or RESOURCE_EXHAUSTED; a region that
//   is not registered with NOT_FOUND from Unregister and Status, INVALID_ARGUMENT from a request;
//   all of it with UNIMPLEMENTED where the configuration does not allow client regions. Messages
//   name what the client named and no path.
#pragma once

#include <stdint.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "services/ingress/frontend.h"

namespace millrace {

struct ClientRegionsOptions {
  bool allowed = false;
  std::string folder = "/dev/shm";
  // Beginnings that a region's key may have, without a slash; empty: any.
  std::vector<std::string> prefixes;
  size_t max_regions = 512;
  size_t max_request_bytes = 1 << 20;  // of one request's inputs: read before anything is checked
};

// A registered region. Immutable but for the file behind it, which is its client's.
class ClientRegion {
 public:
  ClientRegion(std::string name, std::string key, uint64_t offset, uint64_t bytes, int fd)
      : name_(std::move(name)), key_(std::move(key)), offset_(offset), bytes_(bytes), fd_(fd) {}
  ~ClientRegion();
  ClientRegion(const ClientRegion&) = delete;
  ClientRegion& operator=(const ClientRegion&) = delete;

  const std::string& name() const { return name_; }
  const std::string& key() const { return key_; }
  uint64_t offset() const { return offset_; }  // in the file
  uint64_t bytes() const { return bytes_; }
  int fd() const { return fd_; }

 private:
  const std::string name_, key_;
  const uint64_t offset_, bytes_;
  const int fd_;
};

// A place in a region, within its bounds as registered. Keeps the region open.
class RegionPlace {
 public:
  RegionPlace() = default;
  RegionPlace(std::shared_ptr<const ClientRegion> region, uint64_t offset, uint64_t bytes)
      : region_(std::move(region)), offset_(offset), bytes_(bytes) {}

  explicit operator bool() const { return region_ != nullptr; }
  const std::string& region_name() const { return region_->name(); }
  uint64_t offset() const { return offset_; }  // in the region
  uint64_t bytes() const { return bytes_; }

  // Appends the place's bytes. INVALID_ARGUMENT where the file has become too short.
  absl::Status AppendTo(std::string* out) const;
  // Writes at the place's start. INVALID_ARGUMENT where place or file is too short.
  absl::Status Write(std::string_view data) const;

 private:
  std::shared_ptr<const ClientRegion> region_;
  uint64_t offset_ = 0;
  uint64_t bytes_ = 0;
};

// Where one output of a request goes, by its position among the outputs that were asked for.
struct OutputPlace {
  size_t output = 0;
  RegionPlace place;
  size_t written = 0;  // set by WriteOutputs
};

class ClientRegions {
 public:
  explicit ClientRegions(ClientRegionsOptions options) : options_(std::move(options)) {}

  bool allowed() const { return options_.allowed; }
  // UNIMPLEMENTED with the sentence where they are not allowed.
  absl::Status CheckAllowed() const;

  absl::Status Register(std::string_view name, std::string_view key, uint64_t offset,
                        uint64_t bytes);
  // An empty name: all of them, which cannot fail.
  absl::Status Unregister(std::string_view name);
  // In the order of their names. An empty name: all of them.
  absl::StatusOr<std::vector<std::shared_ptr<const ClientRegion>>> Status(
      std::string_view name) const;

  // Of a CUDA device's memory there are no regions: none to tell of (one that is named is
  // NOT_FOUND), and none may be registered (UNIMPLEMENTED).
  absl::Status CheckCudaStatus(std::string_view name) const;
  absl::Status RefuseCuda() const;

  // A place of a request; the status begins with the parameter that is wrong.
  absl::StatusOr<RegionPlace> Find(std::string_view name, uint64_t offset, uint64_t bytes) const;
  // The same for an input, whose bytes are appended to `out`. `taken` counts them for a request;
  // RESOURCE_EXHAUSTED beyond max_request_bytes, before anything is read.
  absl::Status ReadInput(std::string_view name, uint64_t offset, uint64_t bytes, size_t* taken,
                         std::string* out) const;

 private:
  absl::StatusOr<int> OpenKey(std::string_view key, uint64_t offset, uint64_t bytes) const;

  const ClientRegionsOptions options_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const ClientRegion>, std::less<>> regions_;
};

// The prefixes in a comma-separated list.
std::vector<std::string> SplitPrefixes(std::string_view list);

// Writes the outputs that have a place, and leaves `rest` as the answer's outputs, those without
// their bytes. The status names the output.
absl::Status WriteOutputs(const InferAnswer& answer, std::vector<OutputPlace>* places,
                          std::vector<TensorView>* rest);

}  // namespace millrace
