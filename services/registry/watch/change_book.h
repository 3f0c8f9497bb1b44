// What changed in the repository since it was built, and whether it is complete.
//
// Purpose: hold scans and events against what was built last, and say what is due. No I/O: time is
//   handed in.
// Who may call: one thread. Ownership: keeps the last prints.
// Invariants:
//   1. A part (the files of a model's folder; one version) that differs from what was built is due
//      once it stood still for the settling time, or at once after it was renamed into place and
//      not touched since.
//   2. A model is due only while the files of its folder are settled. One that was never built is
//      due when all of it is settled.
//   3. Of a model that is due, versions that are not settled are named as such (Reread).
// What fails: nothing.
#pragma once

#include <stdint.h>

#include <map>
#include <optional>
#include <string>

#include "services/registry/reread.h"
#include "services/registry/watch/tree_scan.h"

namespace millrace {

class ChangeBook {
 public:
  static constexpr int64_t kNever = INT64_MAX;
  static constexpr int64_t kFolder = 0;  // in place of a version: the files of the model's folder

  explicit ChangeBook(int64_t settle_ns) : settle_ns_(settle_ns) {}

  // Of a scan; no print: there is no such model.
  void Saw(const std::string& model, const std::optional<ModelPrint>& print, int64_t now_ns);
  // Somebody changed something there.
  void Touched(const std::string& model, int64_t part, int64_t now_ns);
  // It was put into its place by renaming, whole, as it was seen last.
  void Completed(const std::string& model, int64_t part);
  void CompletedModel(const std::string& model);

  // Nothing: nothing is due.
  std::optional<Reread> Due(int64_t now_ns) const;
  // When something will be, as far as is known; kNever: nothing differs.
  int64_t NextDueNs() const;

  // What was seen last is what was built.
  void Built(const Reread& reread);
  void BuiltAll();

  bool IsEmpty() const;  // nothing was built
  std::vector<std::string> Models() const;

 private:
  struct Part {
    std::optional<std::string> seen, built;  // nothing: is not there
    int64_t changed_ns = 0;
    bool complete = false;

    bool differs() const { return seen != built; }
    bool is_nothing() const { return !seen.has_value() && !built.has_value(); }
    void Take(std::optional<std::string> print, int64_t now_ns);
    void MarkBuilt() {
      built = seen;
      complete = false;
    }
  };
  struct Model {
    Part files;
    std::map<int64_t, Part> versions;

    Part& part(int64_t number) { return number == kFolder ? files : versions[number]; }
  };

  // 0: it is already.
  int64_t SettledAt(const Part& part) const {
    return !part.differs() || part.complete ? 0 : part.changed_ns + settle_ns_;
  }
  int64_t DueAt(const Model& model) const;
  void Add(const std::string& name, const Model& model, int64_t now_ns, Reread* reread) const;

  const int64_t settle_ns_;
  std::map<std::string, Model> models_;
};

}  // namespace millrace
