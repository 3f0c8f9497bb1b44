// gzip and deflate: bodies of requests unpacked, answers packed.
//
// Purpose: what Content-Encoding and Accept-Encoding mean here, over zlib.
// Who may call: one thread. One unpacker and one packer serve all connections, in turn.
// Ownership: both keep zlib's state (7 KiB and a window of 32 KiB; 268 KiB once an answer was
//   packed) and nothing of a client's.
// Invariants:
//   1. No more than the limit and one byte is ever unpacked, whatever the stream claims, into no
//   more
//      than twice the limit; time is bounded by the limits of a body before and after.
//   2. A stream is taken whole or not at all: it must end where the body ends, with its checksum
//      and length right. Several gzip members after one another are one stream, as for gzip itself.
//   3. "deflate" is zlib's format (RFC 1950), which HTTP means by it; a bare deflate stream is
//      refused.
// What fails: Unpack, see there.
#pragma once

#include <stddef.h>
#include <zlib.h>

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace millrace::http {

enum class Coding { kIdentity, kGzip, kDeflate };

// The value of Content-Encoding, empty where there is none. Nothing for one that is not supported;
// of several codings none is.
std::optional<Coding> ParseContentEncoding(std::string_view field);

// Whether Accept-Encoding asks for gzip (or for anything) with a weight above zero.
bool AcceptsGzip(std::string_view field);

class Unpacker {
 public:
  Unpacker();
  ~Unpacker();
  Unpacker(const Unpacker&) = delete;
  Unpacker& operator=(const Unpacker&) = delete;

  // `coding` is kGzip or kDeflate. `out` is overwritten and has kBodyPadding bytes of capacity past
  // its size (body.h). INVALID_ARGUMENT for a broken stream, OUT_OF_RANGE for more than `most`
  // bytes, UNAVAILABLE without memory; `out` is empty then, and may have kept its capacity.
  absl::Status Unpack(Coding coding, std::string_view in, size_t most, std::string* out);

 private:
  absl::Status Run(Coding coding, size_t most, std::string* out);

  z_stream stream_ = {};
};

class Packer {
 public:
  Packer() = default;
  ~Packer();
  Packer(const Packer&) = delete;
  Packer& operator=(const Packer&) = delete;

  // Both parts, one after the other, as one gzip member. False where that is no smaller, or there
  // is no memory; `out` is not to be used then.
  bool Pack(std::string_view first, std::string_view second, std::string* out);

 private:
  z_stream stream_ = {};
  bool open_ = false;
};

}  // namespace millrace::http
