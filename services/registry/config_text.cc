#include "services/registry/config_text.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "services/registry/config_options.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::TextFormat;

constexpr int kMaxNesting = 64;

struct UnknownField {
  std::string message;
  std::string name;
};

// protobuf says: Message type "x.Y" has no field named "z".
std::string Reworded(const std::string& message) {
  const std::string mark = "\" has no field named \"";
  const size_t at = message.find(mark);
  if (at == std::string::npos) return Printable(message);
  const size_t start = at + mark.size(), dot = message.rfind('.', at);
  const std::string field = message.substr(start, message.find('"', start) - start);
  const std::string type =
      dot == std::string::npos ? std::string() : message.substr(dot + 1, at - dot - 1);
  const std::string why = OptionOf(type, field).why;
  return absl::StrCat("field ", Printable(field), " is not supported", why.empty() ? "" : ": ",
                      why);
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

// Goes through all that was written, for lines and for what is left unused.
class Walk {
 public:
  explicit Walk(ConfigText* text) : text_(*text) {}

  void Enter(const Message& message, const TextFormat::ParseInfoTree& tree,
             const std::string& prefix) {
    const google::protobuf::Descriptor& type = *message.GetDescriptor();
    for (int f = 0; f < type.field_count(); ++f) {
      const FieldDescriptor* const field = type.field(f);
      const bool repeated = field->is_repeated();
      const int count = repeated ? message.GetReflection()->FieldSize(message, field) : 1;
      for (int i = 0; i < count; ++i) {
        const int line = LineOf(field, i, tree);
        if (line > 0) Found(message, field, i, line, tree, prefix);
      }
    }
  }
  // Of a parameter that stands twice; empty: none does.
  const std::string& twice() const { return twice_; }

 private:
  // 0: it is not there. The tree has one place for a whole list, so that an element's is that of
  // the first of its own fields.
  static int LineOf(const FieldDescriptor* field, int i, const TextFormat::ParseInfoTree& tree) {
    if (!field->is_repeated()) return tree.GetLocation(field, -1).line + 1;
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      return tree.GetLocation(field, 0).line + 1;
    }
    int first = 0;
    const TextFormat::ParseInfoTree* const inner = tree.GetTreeForNested(field, i);
    const google::protobuf::Descriptor& type = *field->message_type();
    for (int f = 0; inner != nullptr && f < type.field_count(); ++f) {
      const FieldDescriptor* const each = type.field(f);
      const int line = inner->GetLocation(each, each->is_repeated() ? 0 : -1).line + 1;
      if (line > 0 && (first == 0 || line < first)) first = line;
    }
    return first > 0 ? first : tree.GetLocation(field, 0).line + 1;
  }

  void Found(const Message& message, const FieldDescriptor* field, int i, int line,
             const TextFormat::ParseInfoTree& tree, const std::string& prefix) {
    const ConfigOption option = OptionOf(message.GetDescriptor()->name(), field->name());
    const std::string path = prefix + field->name();
    if (option.may_be_unused) {
      if (i > 0) return;
      text_.lines.Add(path, line);
      text_.unused.push_back(
          absl::StrCat(text_.lines.Place(path), field->name(), " is not used: ", option.why));
      return;
    }
    const google::protobuf::Reflection& reflection = *message.GetReflection();
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) return text_.lines.Add(path, line);
    if (!field->is_repeated()) {
      text_.lines.Add(path, line);
      return Below(reflection.GetMessage(message, field), tree.GetTreeForNested(field, -1), path);
    }
    const Message& inner = reflection.GetRepeatedMessage(message, field, i);
    if (field->is_map()) {
      const FieldDescriptor* const key = inner.GetDescriptor()->map_key();
      const std::string entry =
          absl::StrCat(path, ".", inner.GetReflection()->GetString(inner, key));
      if (!keys_.insert(entry).second && twice_.empty()) twice_ = entry;
      return text_.lines.Add(entry, line);
    }
    const std::string numbered = absl::StrCat(path, "[", i, "]");
    text_.lines.Add(numbered, line);
    Below(inner, tree.GetTreeForNested(field, i), numbered);
  }

  void Below(const Message& message, const TextFormat::ParseInfoTree* tree,
             const std::string& path) {
    if (tree != nullptr) Enter(message, *tree, path + ".");
  }

  ConfigText& text_;
  std::set<std::string> keys_;
  std::string twice_;
};

}  // namespace

std::string ConfigLines::Place(std::string path) const {
  while (true) {
    const auto found = lines_.find(path);
    if (found != lines_.end()) return absl::StrCat("config.pbtxt:", found->second, ": ");
    const size_t dot = path.rfind('.');
    if (dot == std::string::npos) return "config.pbtxt: ";
    path.resize(dot);
  }
}

absl::Status ConfigLines::Bad(std::string path, const std::string& sentence) const {
  return absl::InvalidArgumentError(Place(std::move(path)) + sentence);
}

absl::StatusOr<ConfigText> ParseConfigText(std::string_view text) {
  if (!IsUtf8(text)) return absl::InvalidArgumentError("config.pbtxt: the text is not UTF-8");
  FirstError error;
  TextFormat::ParseInfoTree tree;
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetRecursionLimit(kMaxNesting);
  parser.WriteLocationsTo(&tree);
  ConfigText parsed;
  if (!parser.ParseFromString(std::string(text), &parsed.config) || !error.text().empty()) {
    return absl::InvalidArgumentError(error.text().empty() ? "config.pbtxt: cannot be parsed"
                                                           : error.text());
  }
  Walk walk(&parsed);
  walk.Enter(parsed.config, tree, "");
  if (!walk.twice().empty()) {
    return parsed.lines.Bad(walk.twice(), absl::StrCat(Printable(walk.twice()), " stands twice"));
  }
  return parsed;
}

}  // namespace millrace
