#include "common/trace_context.h"

#include <sys/random.h>

#include <bit>

#include "common/clock.h"

namespace millrace {
namespace {

constexpr char kDigits[] = "0123456789abcdef";
constexpr size_t kTraceAt = 3, kSpanAt = 36, kFlagsAt = 53;

void WriteHex(uint64_t value, size_t digits, char* to) {
  for (size_t i = digits; i-- > 0; value >>= 4) to[i] = kDigits[value & 15];
}

// Up to 16 lowercase digits.
bool ReadHex(std::string_view text, uint64_t* value) {
  *value = 0;
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9', letter = c >= 'a' && c <= 'f';
    if (!digit && !letter) return false;
    *value = *value << 4 | static_cast<uint64_t>(digit ? c - '0' : c - 'a' + 10);
  }
  return true;
}

}  // namespace

std::optional<TraceContext> ParseTraceParent(std::string_view text) {
  if (text.size() < kTraceParentBytes) return std::nullopt;
  for (const size_t dash : {kTraceAt - 1, kSpanAt - 1, kFlagsAt - 1}) {
    if (text[dash] != '-') return std::nullopt;
  }
  uint64_t version = 0, flags = 0;
  TraceContext context;
  if (!ReadHex(text.substr(0, 2), &version) ||
      !ReadHex(text.substr(kTraceAt, 16), &context.trace.high) ||
      !ReadHex(text.substr(kTraceAt + 16, 16), &context.trace.low) ||
      !ReadHex(text.substr(kSpanAt, 16), &context.span) ||
      !ReadHex(text.substr(kFlagsAt, 2), &flags)) {
    return std::nullopt;
  }
  constexpr uint64_t kNoVersion = 0xff;
  const bool whole = text.size() == kTraceParentBytes;
  const bool ends = whole || (version != 0 && text[kTraceParentBytes] == '-');
  if (version == kNoVersion || !ends || !context.valid()) return std::nullopt;
  context.sampled = (flags & 1) != 0;
  return context;
}

void WriteTraceParent(const TraceContext& context, char* to) {
  to[0] = to[1] = '0';
  to[kTraceAt - 1] = to[kSpanAt - 1] = to[kFlagsAt - 1] = '-';
  WriteHex(context.trace.high, 16, to + kTraceAt);
  WriteHex(context.trace.low, 16, to + kTraceAt + 16);
  WriteHex(context.span, 16, to + kSpanAt);
  WriteHex(context.sampled ? 1 : 0, 2, to + kFlagsAt);
}

std::string FormatTraceParent(const TraceContext& context) {
  std::string text(kTraceParentBytes, '\0');
  WriteTraceParent(context, text.data());
  return text;
}

std::string HexOf(uint64_t id) {
  std::string text(16, '\0');
  WriteHex(id, 16, text.data());
  return text;
}

std::string HexOf(const TraceId& id) { return HexOf(id.high) + HexOf(id.low); }

TraceIds::TraceIds(uint64_t seed) {
  // splitmix64: no seed leaves all words 0.
  for (uint64_t& word : state_) {
    uint64_t z = seed += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    word = z ^ z >> 31;
  }
}

TraceIds TraceIds::Random() {
  uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
    seed = static_cast<uint64_t>(MonotonicNanos());
  return TraceIds(seed);
}

uint64_t TraceIds::Next() {
  const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

uint64_t TraceIds::Span() {
  while (true) {
    if (const uint64_t id = Next(); id != 0) return id;
  }
}

}  // namespace millrace
