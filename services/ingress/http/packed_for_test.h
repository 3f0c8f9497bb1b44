// What clients send packed, made by zlib itself.
#pragma once

#include <zlib.h>

#include <string>
#include <string_view>

#include "common/check.h"

namespace millrace::http {

inline std::string Pack(std::string_view text, int window_bits, int level) {
  z_stream stream = {};
  MR_CHECK(deflateInit2(&stream, level, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK,
           "a test has memory");
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<unsigned char*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<unsigned char*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  MR_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END, "deflateBound is a bound");
  packed.resize(packed.size() - stream.avail_out);
  deflateEnd(&stream);
  return packed;
}

inline std::string Gzip(std::string_view text, int level = 6) { return Pack(text, 31, level); }
inline std::string Zlib(std::string_view text, int level = 6) { return Pack(text, 15, level); }

// Bytes that no coding makes fewer.
inline std::string Noise(size_t bytes) {
  std::string noise;
  uint64_t state = 1;
  while (noise.size() < bytes) {
    state = state * 6364136223846793005 + 1442695040888963407;
    noise.push_back(static_cast<char>(state >> 56));
  }
  return noise;
}

}  // namespace millrace::http
