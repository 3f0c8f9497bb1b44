#include "services/ingress/http/content_coding.h"

#include <algorithm>
#include <limits>
#include <new>

#include "absl/strings/match.h"
#include "common/check.h"
#include "services/ingress/http/body.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

constexpr int kWindowBits = 15;          // the largest, which any stream may need
constexpr int kGzip = kWindowBits + 16;  // zlib's way to ask for gzip's header
constexpr int kFastest = 1;              // the lane has other work
constexpr int kMemoryLevel = 8;          // zlib's default
constexpr size_t kFirstBytes = 16 << 10;

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool SameWord(std::string_view a, std::string_view b) {
  return absl::EqualsIgnoreCase(Abseil(a), Abseil(b));
}

// What stands before `separator`; `text` is left with what stands after.
std::string_view Cut(std::string_view* text, char separator) {
  const size_t at = text->find(separator);
  const std::string_view part = text->substr(0, at);
  text->remove_prefix(at == std::string_view::npos ? text->size() : at + 1);
  return Trimmed(part);
}

// "q=0" in any spelling; what is no weight counts as none.
bool IsRefused(std::string_view parameters) {
  while (!parameters.empty()) {
    std::string_view value = Cut(&parameters, ';');
    if (!SameWord(Cut(&value, '='), "q")) continue;
    value = Trimmed(value);
    return !value.empty() && value.find_first_not_of("0.") == std::string_view::npos;
  }
  return false;
}

unsigned char* Bytes(const char* text) {
  return reinterpret_cast<unsigned char*>(const_cast<char*>(text));
}

absl::Status Broken(Coding coding, std::string_view how) {
  return BadInput("Content-Encoding: the body is not a whole ",
                  coding == Coding::kGzip ? "gzip" : "deflate (zlib)", " stream: ", how);
}

}  // namespace

std::optional<Coding> ParseContentEncoding(std::string_view field) {
  field = Trimmed(field);
  if (field.empty() || SameWord(field, "identity")) return Coding::kIdentity;
  if (SameWord(field, "gzip") || SameWord(field, "x-gzip")) return Coding::kGzip;
  if (SameWord(field, "deflate")) return Coding::kDeflate;
  return std::nullopt;
}

bool AcceptsGzip(std::string_view field) {
  std::optional<bool> gzip;
  std::optional<bool> any;
  while (!field.empty()) {
    std::string_view parameters = Cut(&field, ',');
    const std::string_view name = Cut(&parameters, ';');
    const bool taken = !IsRefused(parameters);
    if (SameWord(name, "gzip") || SameWord(name, "x-gzip")) gzip = gzip.value_or(false) || taken;
    if (name == "*") any = taken;
  }
  return gzip.value_or(any.value_or(false));
}

Unpacker::Unpacker() {
  if (inflateInit2(&stream_, kGzip) != Z_OK) throw std::bad_alloc();
}

Unpacker::~Unpacker() { inflateEnd(&stream_); }

absl::Status Unpacker::Unpack(Coding coding, std::string_view in, size_t most, std::string* out) {
  MR_CHECK(coding != Coding::kIdentity, "what is not packed is not unpacked");
  MR_CHECK(std::max(in.size(), most) < std::numeric_limits<uInt>::max(), "zlib counts in 32 bits");
  MR_CHECK(inflateReset2(&stream_, coding == Coding::kGzip ? kGzip : kWindowBits) == Z_OK,
           "the stream was opened");
  stream_.next_in = Bytes(in.data());
  stream_.avail_in = static_cast<uInt>(in.size());
  out->clear();
  out->resize(std::min(most + 1, kFirstBytes));
  absl::Status status = Run(coding, most, out);
  if (!status.ok()) out->clear();
  return status;
}

absl::Status Unpacker::Run(Coding coding, size_t most, std::string* out) {
  size_t made = 0;
  while (true) {
    if (made > most) {
      return absl::OutOfRangeError(
          Concat("Content-Encoding: the body is over the limit of ", most, " bytes unpacked"));
    }
    if (made == out->size()) out->resize(std::min(most + 1, 2 * out->size()));
    stream_.next_out = Bytes(out->data() + made);
    stream_.avail_out = static_cast<uInt>(out->size() - made);
    const int result = inflate(&stream_, Z_NO_FLUSH);
    made = out->size() - stream_.avail_out;
    if (result == Z_STREAM_END && made <= most) {
      if (stream_.avail_in == 0) break;
      if (coding != Coding::kGzip) return Broken(coding, "bytes follow it");
      MR_CHECK(inflateReset(&stream_) == Z_OK, "the stream was opened");
    } else if (result == Z_MEM_ERROR) {
      return absl::UnavailableError("there is no memory to unpack the body now");
    } else if (result == Z_BUF_ERROR || (result == Z_OK && stream_.avail_out > 0)) {
      // All was read and there is room: nothing more can come.
      if (stream_.avail_out > 0) return Broken(coding, "it ends too early");
    } else if (result != Z_OK && result != Z_STREAM_END) {
      return Broken(coding, "it is damaged");
    }
  }
  out->resize(made);
  out->reserve(made + kBodyPadding);
  return absl::OkStatus();
}

Packer::~Packer() {
  if (open_) deflateEnd(&stream_);
}

bool Packer::Pack(std::string_view first, std::string_view second, std::string* out) {
  if (!open_ && deflateInit2(&stream_, kFastest, Z_DEFLATED, kGzip, kMemoryLevel,
                             Z_DEFAULT_STRATEGY) != Z_OK) {
    return false;
  }
  open_ = true;
  const size_t bytes = first.size() + second.size();
  MR_CHECK(bytes < std::numeric_limits<uInt>::max(), "zlib counts in 32 bits");
  MR_CHECK(deflateReset(&stream_) == Z_OK, "the stream was opened");
  out->resize(bytes);
  stream_.next_out = Bytes(out->data());
  stream_.avail_out = static_cast<uInt>(bytes);
  stream_.next_in = Bytes(first.data());
  stream_.avail_in = static_cast<uInt>(first.size());
  if (!first.empty() && deflate(&stream_, Z_NO_FLUSH) != Z_OK) return false;
  if (stream_.avail_in != 0) return false;
  stream_.next_in = Bytes(second.data());
  stream_.avail_in = static_cast<uInt>(second.size());
  if (deflate(&stream_, Z_FINISH) != Z_STREAM_END) return false;
  out->resize(bytes - stream_.avail_out);
  return true;
}

}  // namespace millrace::http
