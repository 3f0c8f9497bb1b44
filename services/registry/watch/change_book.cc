#include "services/registry/watch/change_book.h"

#include <algorithm>
#include <utility>

namespace millrace {

void ChangeBook::Part::Take(std::optional<std::string> print, int64_t now_ns) {
  if (print == seen) return;
  seen = std::move(print);
  changed_ns = now_ns;
  complete = false;
}

void ChangeBook::Saw(const std::string& model, const std::optional<ModelPrint>& print,
                     int64_t now_ns) {
  static const ModelPrint kNothing;
  Model& known = models_[model];
  const ModelPrint& there = print.has_value() ? *print : kNothing;
  known.files.Take(print.has_value() ? std::optional(print->files) : std::nullopt, now_ns);
  for (const auto& [number, version] : there.versions) {
    known.versions[number].Take(version, now_ns);
  }
  for (auto& [number, part] : known.versions) {
    if (there.versions.count(number) == 0) part.Take(std::nullopt, now_ns);
  }
  std::erase_if(known.versions, [](const auto& entry) { return entry.second.is_nothing(); });
  if (known.files.is_nothing() && known.versions.empty()) models_.erase(model);
}

void ChangeBook::Touched(const std::string& model, int64_t number, int64_t now_ns) {
  Part& part = models_[model].part(number);
  part.changed_ns = now_ns;
  part.complete = false;
}

void ChangeBook::Completed(const std::string& model, int64_t number) {
  models_[model].part(number).complete = true;
}

void ChangeBook::CompletedModel(const std::string& model) {
  Model& known = models_[model];
  known.files.complete = true;
  for (auto& [number, part] : known.versions) part.complete = true;
}

int64_t ChangeBook::DueAt(const Model& model) const {
  const int64_t files_ns = SettledAt(model.files);
  if (!model.files.seen.has_value()) return model.files.built.has_value() ? files_ns : kNever;
  const bool is_new = !model.files.built.has_value();
  int64_t versions_ns = is_new || model.files.differs() ? 0 : kNever;
  for (const auto& [number, part] : model.versions) {
    if (!part.differs()) continue;
    const int64_t settled_ns = SettledAt(part);
    versions_ns = is_new ? std::max(versions_ns, settled_ns) : std::min(versions_ns, settled_ns);
  }
  return std::max(files_ns, versions_ns);
}

void ChangeBook::Add(const std::string& name, const Model& model, int64_t now_ns,
                     Reread* reread) const {
  if (!model.files.seen.has_value()) {
    reread->gone.insert(name);
    return;
  }
  Reread::Versions& versions = reread->models[name];
  versions.all = model.files.differs();
  for (const auto& [number, part] : model.versions) {
    if (!part.differs()) continue;
    if (SettledAt(part) <= now_ns) {
      versions.some.insert(number);
    } else {
      reread->unsettled.emplace(name, number);
    }
  }
}

std::optional<Reread> ChangeBook::Due(int64_t now_ns) const {
  Reread reread;
  for (const auto& [name, model] : models_) {
    if (DueAt(model) <= now_ns) Add(name, model, now_ns, &reread);
  }
  if (reread.models.empty() && reread.gone.empty()) return std::nullopt;
  return reread;
}

int64_t ChangeBook::NextDueNs() const {
  int64_t next = kNever;
  for (const auto& [name, model] : models_) next = std::min(next, DueAt(model));
  return next;
}

void ChangeBook::Built(const Reread& reread) {
  for (const std::string& name : reread.gone) models_.erase(name);
  for (const auto& [name, versions] : reread.models) {
    const auto found = models_.find(name);
    if (found == models_.end()) continue;
    found->second.files.MarkBuilt();
    for (auto& [number, part] : found->second.versions) {
      if (reread.unsettled.count({name, number}) == 0) part.MarkBuilt();
    }
  }
}

void ChangeBook::BuiltAll() {
  for (auto& [name, model] : models_) {
    model.files.MarkBuilt();
    for (auto& [number, part] : model.versions) part.MarkBuilt();
  }
  std::erase_if(models_, [](const auto& entry) { return !entry.second.files.seen.has_value(); });
}

bool ChangeBook::IsEmpty() const {
  return std::none_of(models_.begin(), models_.end(),
                      [](const auto& entry) { return entry.second.files.built.has_value(); });
}

std::vector<std::string> ChangeBook::Models() const {
  std::vector<std::string> names;
  for (const auto& [name, model] : models_) names.push_back(name);
  return names;
}

}  // namespace millrace
