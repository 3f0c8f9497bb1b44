#include "services/registry/config_text.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

constexpr int kMaxNesting = 64;

// protobuf says: Message type "x.Y" has no field named "z".
std::string Reworded(const std::string& message) {
  const std::string mark = " has no field named \"";
  const size_t at = message.find(mark);
  if (at == std::string::npos) return Printable(message);
  const size_t start = at + mark.size();
  const std::string field = message.substr(start, message.find('"', start) - start);
  return absl::StrCat("field ", Printable(field), " is not supported");
}

class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  // Lines and columns count from 0; -1 is an error of the whole text.
  void AddError(int line, int /*column*/, const std::string& message) override {
    if (!text_.empty()) return;
    text_ = absl::StrCat("config.pbtxt:", line + 1, ": ", Reworded(message));
  }
  void AddWarning(int line, int column, const std::string& message) override {
    AddError(line, column, message);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace

absl::StatusOr<registry::ModelConfig> ParseConfigText(std::string_view text) {
  if (!IsUtf8(text)) return absl::InvalidArgumentError("config.pbtxt: the text is not UTF-8");
  FirstError error;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(kMaxNesting);
  registry::ModelConfig config;
  if (parser.ParseFromString(std::string(text), &config) && error.text().empty()) return config;
  return absl::InvalidArgumentError(error.text().empty() ? "config.pbtxt: cannot be parsed"
                                                         : error.text());
}

}  // namespace millrace
