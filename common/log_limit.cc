#include "common/log_limit.h"

#include <algorithm>

namespace millrace {
namespace {

// 64-bit FNV-1a; never 0.
uint64_t HashOf(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return std::max<uint64_t>(hash, 1);
}

}  // namespace

LogLimit::Bucket* LogLimit::Find(uint64_t name) {
  for (size_t tried = 0; tried < kEvents; ++tried) {
    Bucket& bucket = buckets_[(name + tried) % kEvents];
    if (bucket.name == 0) bucket.name = name;
    if (bucket.name == name) return &bucket;
  }
  return nullptr;
}

bool LogLimit::Admit(std::string_view event, int64_t now_ns, uint64_t* suppressed) {
  *suppressed = 0;
  // acquire: meets the release in LogLimit::Admit, of the thread that was inside before.
  if (busy_.exchange(true, std::memory_order_acquire)) return true;
  bool admitted = true;
  if (Bucket* const bucket = Find(HashOf(event))) {
    const int64_t full_ns = std::max(bucket->full_ns, now_ns);
    admitted = full_ns - now_ns <= (kBurst - 1) * kEachNs;
    if (admitted) {
      bucket->full_ns = full_ns + kEachNs;
      *suppressed = bucket->suppressed;
      bucket->suppressed = 0;
    } else {
      ++bucket->suppressed;
    }
  }
  // release: meets the acquire in LogLimit::Admit.
  busy_.store(false, std::memory_order_release);
  return admitted;
}

}  // namespace millrace
