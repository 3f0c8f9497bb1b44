#include "services/ingress/routes/routing_table.h"

#include <string.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_cat.h"

namespace millrace {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kFnvBasis = 14695981039346656037ull, kFnvPrime = 1099511628211ull;

uint64_t Fnv1a(std::string_view text, uint64_t hash) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * kFnvPrime;
  return hash;
}

// FNV's high bits know little of the last bytes; this spreads them (Stafford's variant 13 of
// MurmurHash3's finalizer).
uint64_t Spread(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

// Of `of` places, evenly.
uint32_t Place(uint64_t key, uint32_t of) { return static_cast<uint32_t>((key >> 32) * of >> 32); }

template <typename T>
void Append(T value, std::string* row) {
  row->append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
bool AppendWhole(const Json& element, std::string* row) {
  if (!element.is_number_integer()) return false;
  const bool fits =
      element.is_number_unsigned()
          ? element.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<T>::max())
          : element.get<int64_t>() >= static_cast<int64_t>(std::numeric_limits<T>::min());
  if (fits) Append(element.get<T>(), row);
  return fits;
}

bool AppendElement(DataType datatype, const Json& element, std::string* row) {
  switch (datatype) {
    case DataType::kBool:
      if (element.is_boolean()) Append(static_cast<uint8_t>(element.get<bool>()), row);
      return element.is_boolean();
    case DataType::kUint8:
      return AppendWhole<uint8_t>(element, row);
    case DataType::kUint16:
      return AppendWhole<uint16_t>(element, row);
    case DataType::kUint32:
      return AppendWhole<uint32_t>(element, row);
    case DataType::kUint64:
      return AppendWhole<uint64_t>(element, row);
    case DataType::kInt8:
      return AppendWhole<int8_t>(element, row);
    case DataType::kInt16:
      return AppendWhole<int16_t>(element, row);
    case DataType::kInt32:
      return AppendWhole<int32_t>(element, row);
    case DataType::kInt64:
      return AppendWhole<int64_t>(element, row);
    case DataType::kFp32:
      if (element.is_number()) Append(element.get<float>(), row);
      return element.is_number();
    case DataType::kFp64:
      if (element.is_number()) Append(element.get<double>(), row);
      return element.is_number();
    case DataType::kBytes: {
      if (!element.is_string()) return false;
      const std::string& text = element.get_ref<const std::string&>();
      Append(static_cast<uint32_t>(text.size()), row);
      row->append(text);
      return true;
    }
    default:
      return false;
  }
}

std::optional<ConstantOutput> OutputOf(const Json& json) {
  const auto name = json.find("name"), datatype = json.find("datatype"), data = json.find("data");
  if (name == json.end() || datatype == json.end() || data == json.end() || !name->is_string() ||
      !datatype->is_string() || !data->is_array()) {
    return std::nullopt;
  }
  ConstantOutput output;
  output.name = *name;
  output.datatype = ParseDataType(datatype->get<std::string>()).value_or(DataType::kInvalid);
  output.columns = static_cast<int64_t>(data->size());
  for (const Json& element : *data) {
    if (!AppendElement(output.datatype, element, &output.row)) return std::nullopt;
  }
  return output;
}

std::optional<CompiledFallback> FallbackOf(const Fallback& fallback) {
  CompiledFallback compiled;
  if (fallback.has_target()) {
    compiled.model = fallback.target().model();
    compiled.version = fallback.target().version();
    compiled.said = compiled.model + "/" + compiled.version;
    return compiled;
  }
  const Json json = Json::parse(fallback.constant(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("outputs")) return std::nullopt;
  for (const Json& each : json["outputs"]) {
    std::optional<ConstantOutput> output = OutputOf(each);
    if (!output.has_value()) return std::nullopt;
    compiled.constant.push_back(std::move(*output));
  }
  compiled.said = "constant";
  return compiled;
}

CompiledRule RuleOf(const std::string& name, const RouteRule& rule) {
  CompiledRule compiled;
  compiled.name = name;
  compiled.label = rule.label();
  for (const RouteRule::Header& header : rule.headers()) {
    compiled.headers.emplace_back(header.name(), header.value());
  }
  compiled.path = rule.path();
  compiled.tenants.assign(rule.tenants().begin(), rule.tenants().end());
  for (const RouteTarget& target : rule.targets()) {
    compiled.targets.push_back({target.model(), target.version(), target.weight()});
    compiled.parts += target.weight();
  }
  for (const ShadowTarget& shadow : rule.shadows()) {
    compiled.shadows.push_back(
        {shadow.model(), shadow.version(), shadow.beside_version(), shadow.parts()});
    compiled.needs_key |= shadow.parts() < kRouteParts;
  }
  for (const Fallback& fallback : rule.fallbacks()) {
    if (auto one = FallbackOf(fallback)) compiled.fallbacks.push_back(std::move(*one));
  }
  const auto takes_part = [](const CompiledTarget& target) { return target.parts > 0; };
  compiled.needs_key |=
      std::count_if(compiled.targets.begin(), compiled.targets.end(), takes_part) > 1;
  return compiled;
}

}  // namespace

bool CompiledRule::Fits(const RouteQuestion& question) const {
  if (!path.empty() && path != question.path) return false;
  if (!tenants.empty() &&
      std::find(tenants.begin(), tenants.end(), question.tenant) == tenants.end()) {
    return false;
  }
  return std::all_of(headers.begin(), headers.end(), [&](const auto& header) {
    return question.headers != nullptr && question.headers->Find(header.first) == header.second;
  });
}

const CompiledTarget* CompiledRule::Pick(uint64_t key) const {
  if (targets.empty()) return nullptr;
  uint32_t left = parts - Place(key, parts);  // from the end: 1 to `parts`
  for (size_t i = 1; i < targets.size(); ++i) {
    if (left <= targets[i].parts) return &targets[i];
    left -= targets[i].parts;
  }
  return &targets[0];
}

std::shared_ptr<const RoutingTable> RoutingTable::Make(const Routes& routes) {
  auto table = std::make_shared<RoutingTable>();
  table->generation_ = routes.generation();
  for (const NamedRoute& route : routes.routes()) {
    std::vector<CompiledRule>& rules = table->routes_[route.name()];
    for (const RouteRule& rule : route.rules()) {
      rules.push_back(RuleOf(route.name(), rule));
      if (!rule.path().empty()) table->paths_.push_back(rule.path());
    }
  }
  return table;
}

const std::vector<CompiledRule>* RoutingTable::FindRules(std::string_view name) const {
  if (routes_.empty()) return nullptr;
  const auto found = routes_.find(absl::string_view(name.data(), name.size()));
  return found == routes_.end() ? nullptr : &found->second;
}

const CompiledRule* RoutingTable::Find(const RouteQuestion& question) const {
  const std::vector<CompiledRule>* const rules = FindRules(question.model);
  if (rules == nullptr) return nullptr;
  for (const CompiledRule& rule : *rules) {
    if (rule.Fits(question)) return &rule;
  }
  return nullptr;
}

bool RoutingTable::NamesPath(std::string_view prefix) const {
  return std::find(paths_.begin(), paths_.end(), prefix) != paths_.end();
}

uint64_t RouteKey(std::string_view route, std::string_view client_key) {
  const uint64_t salted = (Fnv1a(route, kFnvBasis) ^ 0xff) * kFnvPrime;
  return Spread(Fnv1a(client_key, salted));
}

uint64_t RouteKeyOfNobody(uint64_t n) { return Spread(n * 0x9e3779b97f4a7c15ull); }

bool TakesShare(uint64_t key, std::string_view salt, uint32_t parts) {
  if (parts >= kRouteParts) return true;
  return Place(Spread(Fnv1a(salt, key)), kRouteParts) < parts;
}

bool ExpandConstant(const std::vector<ConstantOutput>& constant,
                    absl::Span<const std::string_view> asked, int64_t rows,
                    std::vector<TensorView>* outputs, std::vector<std::string>* storage,
                    std::vector<std::array<int64_t, 2>>* shapes) {
  std::vector<const ConstantOutput*> wanted;
  for (const ConstantOutput& output : constant) {
    if (asked.empty()) wanted.push_back(&output);
  }
  for (const std::string_view name : asked) {
    const auto found = std::find_if(constant.begin(), constant.end(),
                                    [&](const ConstantOutput& o) { return o.name == name; });
    if (found == constant.end()) return false;
    wanted.push_back(&*found);
  }
  // Made whole before views point into them.
  storage->resize(wanted.size());
  shapes->resize(wanted.size());
  outputs->clear();
  for (size_t i = 0; i < wanted.size(); ++i) {
    std::string& bytes = (*storage)[i];
    bytes.clear();
    bytes.reserve(wanted[i]->row.size() * static_cast<size_t>(rows));
    for (int64_t row = 0; row < rows; ++row) bytes.append(wanted[i]->row);
    (*shapes)[i] = {rows, wanted[i]->columns};
    outputs->push_back({wanted[i]->name, wanted[i]->datatype, (*shapes)[i], bytes});
  }
  return true;
}

}  // namespace millrace
