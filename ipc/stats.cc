#include "ipc/stats.h"

#include <string.h>

#include <algorithm>

namespace millrace {
namespace {

constexpr size_t kRoutes = 1 << 16;

template <size_t kBytes>
void Write(std::string_view text, StatsText<kBytes>* to) {
  char bytes[kBytes] = {};
  memcpy(bytes, text.data(), std::min(text.size(), kBytes));
  for (size_t i = 0; i < std::size(to->words); ++i) {
    uint64_t word;
    memcpy(&word, bytes + i * sizeof word, sizeof word);
    to->words[i].Set(word);
  }
}

template <size_t kBytes>
std::string Read(const StatsText<kBytes>& from) {
  char bytes[kBytes];
  for (size_t i = 0; i < std::size(from.words); ++i) {
    const uint64_t word = from.words[i].Get();
    memcpy(bytes + i * sizeof word, &word, sizeof word);
  }
  return ShownText({bytes, strnlen(bytes, kBytes)});
}

// Bytes of the character that begins here; 0 where it is none that can be shown.
size_t Character(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  const size_t length = lead >= 0xf0 ? 4 : (lead >= 0xe0 ? 3 : 2);
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  uint32_t code = lead & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0) != 0x80) return 0;
    code = code << 6 | (next & 0x3f);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  return code >= kLeast[length] && code <= 0x10ffff && code >= 0xa0 && !surrogate ? length : 0;
}

}  // namespace

std::string ShownText(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const size_t bytes = Character(text);
    shown.append(bytes == 0 ? std::string_view("?") : text.substr(0, bytes));
    text.remove_prefix(std::max<size_t>(bytes, 1));
  }
  return shown;
}

StatsWriter::StatsWriter(StatsWords* words) : words_(words), slot_of_route_(kRoutes) {
  // release: meets the acquire in ReadModelStats; slot 0 has no name.
  words_->models[0].in_use.store(1, std::memory_order_release);
}

void StatsWriter::Name(uint32_t route, std::string_view model, std::string_view version) {
  if (route >= kRoutes) return;
  const auto [place, added] = slots_.try_emplace({std::string(model), std::string(version)}, 0);
  if (added && used_ < kMaxStatsModels) {
    place->second = static_cast<uint8_t>(used_++);
    ModelStatsWords& slot = words_->models[place->second];
    Write(model, &slot.name);
    Write(version, &slot.version);
    // release: meets the acquire in ReadModelStats.
    slot.in_use.store(1, std::memory_order_release);
  }
  slot_of_route_[route] = place->second;
  if (place->second != 0) words_->models[place->second].route.Set(route);
}

ModelName ReadModelName(const StatsWords& words, size_t slot) {
  if (slot == 0 || slot >= kMaxStatsModels) return {};
  const ModelStatsWords& named = words.models[slot];
  // acquire: meets the release in StatsWriter::Name.
  if (named.in_use.load(std::memory_order_acquire) == 0) return {};
  return {Read(named.name), Read(named.version)};
}

std::vector<ModelStats> ReadModelStats(const StatsWords& words) {
  std::vector<ModelStats> all;
  for (const ModelStatsWords& slot : words.models) {
    // acquire: meets the release in StatsWriter::Name.
    if (slot.in_use.load(std::memory_order_acquire) == 0) continue;
    ModelStats& one = all.emplace_back();
    if (&slot != words.models) {
      one.model = Read(slot.name);
      one.version = Read(slot.version);
      one.route = slot.route.Get();
    }
    one.words.reserve(kStatsWords);
    for (const StatsWord& word : slot.words) one.words.push_back(word.Get());
  }
  return all;
}

}  // namespace millrace
