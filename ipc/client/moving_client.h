// A local client that follows the server from one process to the next.
//
// Purpose: an ingress that is about to be replaced asks its clients to connect again
//   (LocalWords::moving); programs notice nothing. What they began stays with the connection it was
//   begun on until it is released, what they begin next goes to the new one.
// Who may call: one thread at a time. Ownership: owns every connection, and the models that were
//   opened over any of them, until it ends.
// Invariants:
//   1. A new connection is made at a Begin, and only where the server asked for it; one that was
//      lost is the program's to make anew.
//   2. A model is opened again by its name. One whose signature is another now, or that is gone, is
//      refused with a sentence: places would mean something else.
// What fails: what the header for C says, as absl::Status.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ipc/client/client.h"

namespace millrace {

class MovingClient {
 public:
  static absl::StatusOr<std::unique_ptr<MovingClient>> Connect(const std::string& path,
                                                               const mr_options& options);

  absl::StatusOr<mr_model*> OpenModel(const std::string& name, const std::string& version);
  absl::StatusOr<mr_request*> Begin(mr_model* model, uint32_t rows,
                                    absl::Span<const mr_input> inputs);
  absl::Status Submit(mr_request* request, const mr_submit_options& options) {
    return request->owner->Submit(request, options);
  }
  void Flush();
  size_t Wait(mr_request** ended, size_t most, int64_t timeout_ns);
  void Cancel(mr_request* request) { request->owner->Cancel(request); }
  int Infer(mr_request* request, const mr_submit_options& options);
  void Release(mr_request* request);

  bool connected() const { return current().connected() || current().Moving(); }
  size_t places() const { return current().places(); }
  std::string& error() { return error_; }

 private:
  struct Opened {
    mr_model* model;
    std::string name, version;
  };

  MovingClient(std::string path, const mr_options& options) : path_(path), options_(options) {}
  LocalClient& current() const { return *connections_.back(); }
  absl::Status MoveOn();
  size_t WaitForAll(mr_request** ended, size_t most, int64_t timeout_ns);
  void DropEmpty();

  const std::string path_;
  const mr_options options_;
  std::vector<std::unique_ptr<LocalClient>> connections_;  // the last one is current
  std::vector<Opened> opened_;                             // as the program knows them
  std::vector<std::unique_ptr<mr_model>> kept_;            // of connections that ended
  int64_t next_try_ns_ = 0;
  std::string error_;
};

}  // namespace millrace
