#include "tools/load/history_file.h"

#include "absl/strings/str_cat.h"

namespace millrace {

absl::StatusOr<std::unique_ptr<HistoryFile>> HistoryFile::Open(const std::string& path) {
  FILE* const file = fopen(path.c_str(), "w");
  if (file == nullptr) return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be written"));
  return std::unique_ptr<HistoryFile>(new HistoryFile(file));
}

HistoryFile::~HistoryFile() { fclose(file_); }

void HistoryFile::Write(const DriveEvent& event) {
  constexpr char kKinds[] = {'S', 'A', 'E'};
  fprintf(file_, "%c %lld %lld %.*s\n", kKinds[static_cast<int>(event.kind)],
          static_cast<long long>(event.number), static_cast<long long>(event.at_ns),
          static_cast<int>(event.code.size()), event.code.data());
}

}  // namespace millrace
