#include "common/profile.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"

namespace millrace {
namespace {

constexpr size_t kHeaderWords = 5;
constexpr size_t kMaxDepth = 1024;
constexpr size_t kMaxUnpacked = 256 << 20;
constexpr int kGzip = 16 + MAX_WBITS;  // zlib's word for that format

// Fills a profile, each text, function and address once.
class Builder {
 public:
  explicit Builder(const Symbolizer& symbolize) : symbolize_(symbolize) { Text(""); }

  int64_t Text(const std::string& text) {
    const auto [place, added] = texts_.try_emplace(text, texts_.size());
    if (added) profile_.add_string_table(text);
    return place->second;
  }

  uint64_t LocationOf(uint64_t address) {
    const auto [place, added] = locations_.try_emplace(address, locations_.size() + 1);
    if (added) {
      Profile::Location* location = profile_.add_location();
      location->set_id(place->second);
      location->set_address(address);
      location->add_line()->set_function_id(FunctionOf(symbolize_(address)));
    }
    return place->second;
  }

  Profile& profile() { return profile_; }

 private:
  uint64_t FunctionOf(const std::string& name) {
    const auto [place, added] = functions_.try_emplace(name, functions_.size() + 1);
    if (added) {
      Profile::Function* function = profile_.add_function();
      function->set_id(place->second);
      function->set_name(Text(name.empty() ? "?" : name));
      function->set_system_name(function->name());
    }
    return place->second;
  }

  const Symbolizer& symbolize_;
  Profile profile_;
  std::map<std::string, int64_t> texts_;
  std::map<std::string, uint64_t> functions_;
  std::map<uint64_t, uint64_t> locations_;
};

void AddType(Builder* builder, Profile::ValueType* type, const char* name, const char* unit) {
  type->set_type(builder->Text(name));
  type->set_unit(builder->Text(unit));
}

// Names by the ids of locations, innermost last.
class Names {
 public:
  explicit Names(const Profile& profile) {
    std::map<uint64_t, std::string> functions;
    for (const auto& function : profile.function()) {
      const int64_t name = function.name();
      const bool known = name >= 0 && name < profile.string_table_size();
      functions[function.id()] = known ? profile.string_table(static_cast<int>(name)) : "?";
    }
    for (const auto& location : profile.location()) {
      const auto found = location.line().empty() ? functions.end()
                                                 : functions.find(location.line(0).function_id());
      names_[location.id()] = found == functions.end() ? "?" : found->second;
    }
  }

  std::string_view Of(uint64_t location) const {
    const auto found = names_.find(location);
    return found == names_.end() ? "?" : std::string_view(found->second);
  }

 private:
  std::map<uint64_t, std::string> names_;
};

int64_t ValueOf(const Profile::Sample& sample) {
  return sample.value().empty() ? 0 : sample.value(sample.value_size() - 1);
}

}  // namespace

absl::StatusOr<Profile> FromCpuSamples(absl::Span<const uint64_t> words,
                                       const Symbolizer& symbolize) {
  if (words.size() < kHeaderWords || words[0] != 0 || words[1] != 3 || words[2] != 0) {
    return absl::InvalidArgumentError("this is no CPU profile");
  }
  Builder builder(symbolize);
  Profile& profile = builder.profile();
  const int64_t period_ns = static_cast<int64_t>(words[3]) * kNanosPerMicro;
  AddType(&builder, profile.add_sample_type(), "samples", "count");
  AddType(&builder, profile.add_sample_type(), "cpu", "nanoseconds");
  AddType(&builder, profile.mutable_period_type(), "cpu", "nanoseconds");
  profile.set_period(period_ns);
  size_t at = kHeaderWords;
  while (at + 2 <= words.size()) {
    const uint64_t count = words[at], depth = words[at + 1];
    if (count == 0) return std::move(profile);
    if (depth > kMaxDepth || depth > words.size() - at - 2) break;
    Profile::Sample* sample = profile.add_sample();
    for (uint64_t i = 0; i < depth; ++i) {
      // Past the innermost they are where calls return to, which may be another function.
      sample->add_location_id(builder.LocationOf(words[at + 2 + i] - (i == 0 ? 0 : 1)));
    }
    sample->add_value(static_cast<int64_t>(count));
    sample->add_value(static_cast<int64_t>(count) * period_ns);
    at += 2 + depth;
  }
  return absl::InvalidArgumentError(absl::StrCat("word ", at, ": the CPU profile is cut off"));
}

Profile FromHeapSamples(const std::vector<HeapSample>& samples, int64_t period_bytes,
                        const Symbolizer& symbolize) {
  Builder builder(symbolize);
  Profile& profile = builder.profile();
  AddType(&builder, profile.add_sample_type(), "inuse_objects", "count");
  AddType(&builder, profile.add_sample_type(), "inuse_space", "bytes");
  AddType(&builder, profile.mutable_period_type(), "space", "bytes");
  profile.set_period(period_bytes);
  // All of them are where calls return to, which may be another function.
  std::map<uint64_t, bool> known;
  const auto allocates = [&](uint64_t address) {
    const auto [place, added] = known.try_emplace(address, false);
    if (added) place->second = symbolize(address - 1).rfind("tcmalloc::", 0) == 0;
    return place->second;
  };
  std::map<std::vector<uint64_t>, std::pair<double, double>> held;  // objects and bytes, by stack
  for (const HeapSample& sample : samples) {
    if (sample.count <= 0 || sample.bytes <= 0 || period_bytes <= 0) continue;
    // An object of so many bytes is sampled with the probability 1 - e^(-size / period).
    const double size = static_cast<double>(sample.bytes) / static_cast<double>(sample.count);
    const double stands_for = 1 / -std::expm1(-size / static_cast<double>(period_bytes));
    const auto caller = std::find_if_not(sample.stack.begin(), sample.stack.end(), allocates);
    auto& [objects, bytes] = held[{caller, sample.stack.end()}];
    objects += static_cast<double>(sample.count) * stands_for;
    bytes += static_cast<double>(sample.bytes) * stands_for;
  }
  for (const auto& [stack, sums] : held) {
    Profile::Sample* sample = profile.add_sample();
    for (const uint64_t address : stack) sample->add_location_id(builder.LocationOf(address - 1));
    sample->add_value(std::llround(sums.first));
    sample->add_value(std::llround(sums.second));
  }
  return std::move(profile);
}

bool IsOfBytes(const Profile& profile) {
  if (profile.sample_type().empty()) return false;
  const int64_t unit = profile.sample_type(profile.sample_type_size() - 1).unit();
  return unit >= 0 && unit < profile.string_table_size() &&
         profile.string_table(static_cast<int>(unit)) == "bytes";
}

std::string Pack(const Profile& profile) {
  const std::string plain = profile.SerializeAsString();
  z_stream zip = {};
  MR_CHECK(
      deflateInit2(&zip, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) == Z_OK,
      "no memory to pack a profile");
  std::string packed(deflateBound(&zip, plain.size()), '\0');
  zip.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  zip.avail_in = static_cast<uInt>(plain.size());
  zip.next_out = reinterpret_cast<Bytef*>(packed.data());
  zip.avail_out = static_cast<uInt>(packed.size());
  MR_CHECK(deflate(&zip, Z_FINISH) == Z_STREAM_END, "deflateBound is a bound");
  packed.resize(zip.total_out);
  deflateEnd(&zip);
  return packed;
}

absl::StatusOr<Profile> Unpack(std::string_view packed) {
  z_stream zip = {};
  MR_CHECK(inflateInit2(&zip, kGzip) == Z_OK, "no memory to unpack a profile");
  std::string plain;
  zip.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  zip.avail_in = static_cast<uInt>(packed.size());
  int said = Z_OK;
  while (said == Z_OK && plain.size() < kMaxUnpacked) {
    char block[16384];
    zip.next_out = reinterpret_cast<Bytef*>(block);
    zip.avail_out = sizeof block;
    said = inflate(&zip, Z_NO_FLUSH);
    plain.append(block, sizeof block - zip.avail_out);
  }
  inflateEnd(&zip);
  Profile profile;
  if (said != Z_STREAM_END || !profile.ParseFromString(plain)) {
    return absl::InvalidArgumentError("this is no packed profile");
  }
  return profile;
}

std::vector<ProfileLine> ProfileTable(const Profile& profile) {
  const Names names(profile);
  std::map<std::string_view, ProfileLine> lines;
  for (const Profile::Sample& sample : profile.sample()) {
    std::set<std::string_view> seen;
    for (int i = 0; i < sample.location_id_size(); ++i) {
      const std::string_view name = names.Of(sample.location_id(i));
      if (i == 0) lines[name].self += ValueOf(sample);
      if (seen.insert(name).second) lines[name].total += ValueOf(sample);
    }
  }
  std::vector<ProfileLine> table;
  for (auto& [name, line] : lines) {
    line.function = std::string(name);
    table.push_back(std::move(line));
  }
  std::stable_sort(table.begin(), table.end(), [](const ProfileLine& a, const ProfileLine& b) {
    return std::pair(a.self, a.total) > std::pair(b.self, b.total);
  });
  return table;
}

std::string FoldedStacks(const Profile& profile) {
  const Names names(profile);
  std::map<std::string, int64_t> stacks;
  for (const Profile::Sample& sample : profile.sample()) {
    std::string stack;
    for (int i = sample.location_id_size() - 1; i >= 0; --i) {
      std::string name(names.Of(sample.location_id(i)));
      // What separates frames in this format.
      std::replace(name.begin(), name.end(), ';', ':');
      stack += (stack.empty() ? "" : ";") + name;
    }
    stacks[stack] += ValueOf(sample);
  }
  std::string text;
  for (const auto& [stack, value] : stacks) absl::StrAppend(&text, stack, " ", value, "\n");
  return text;
}

}  // namespace millrace
