#include "services/registry/version_files.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "services/registry/manifest/utc.h"
#include "services/registry/sealed_file.h"
#include "services/registry/text.h"

namespace millrace {
namespace {

constexpr size_t kMaxManifestBytes = 1 << 20;
constexpr char kConfigFile[] = "config.pbtxt";

std::string Sentence(const absl::Status& status) { return std::string(status.message()); }

absl::StatusOr<std::string> ReadCopy(int fd, size_t size, size_t max_bytes) {
  if (size > max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("is larger than ", max_bytes, " bytes"));
  }
  std::string text(size, '\0');
  for (size_t done = 0; done < size;) {
    const ssize_t n = pread(fd, text.data() + done, size - done, static_cast<off_t>(done));
    if (n <= 0) return absl::InternalError("a sealed copy cannot be read");
    done += n;
  }
  return text;
}

const char* WhoAsks(const ManifestOptions& options) {
  if (options.trust.strict) return "registry.strict";
  return options.trust.allow_unsigned ? "registry.manifest" : "registry.allow_unsigned";
}

}  // namespace

ManifestOptions ManifestOptionsOf(const Config& config) {
  using Mode = ManifestOptions::Mode;
  ManifestOptions options;
  options.mode = config.manifest == "off"       ? Mode::kOff
                 : config.manifest == "require" ? Mode::kRequire
                                                : Mode::kAccept;
  options.trust.allow_unsigned = config.allow_unsigned == "true";
  options.trust.strict = config.strict_manifest == "true";
  if (!config.trusted_keys.empty()) {
    options.trust.trusted_keys = absl::StrSplit(config.trusted_keys, ',');
  }
  return options;
}

std::string VersionFiles::Below(const std::string& name) const {
  return absl::StrCat(definition_.config.name(), "/", name);
}

void VersionFiles::Open(const ManifestOptions& options, size_t max_bytes,
                        std::vector<ConfigFault>* faults) {
  if (options.mode == ManifestOptions::Mode::kOff) return;
  const std::string path = Below(absl::StrCat(version_, "/", kManifestFile));
  absl::StatusOr<std::string> text =
      repository_.ReadText(path, kMaxManifestBytes, Repository::Links::kNone);
  if (absl::IsNotFound(text.status())) {
    if (options.Required()) {
      faults->push_back(
          {0, "", absl::StrCat("is missing, and ", WhoAsks(options), " asks for it")});
    }
    return;
  }
  if (!text.ok()) {
    faults->push_back({0, "", Sentence(text.status())});
    return;
  }
  ManifestResult read = ReadManifest(*text);
  manifest_ = std::move(read.manifest);
  *faults = std::move(read.faults);
  CheckPlace(faults);
  const int64_t now_s = options.now_s == nullptr ? WallSeconds() : options.now_s();
  for (ConfigFault& fault : CheckTrust(*text, *manifest_, options.trust, now_s)) {
    faults->push_back(std::move(fault));
  }
  left_bytes_ = max_bytes;
  std::vector<ConfigFault> copy_faults;
  CopyList(manifest_->files, "files", absl::StrCat(version_, "/"), &copy_faults);
  CopyList(manifest_->shared, "shared", "", &copy_faults);
  if (manifest_->view.has_value()) {
    const ManifestView& view = *manifest_->view;
    CopyOne({kViewFile, view.sha256, -1, view.line}, "view", kViewFile, &copy_faults);
  }
  CheckModelFile(copy_faults, faults);
  faults->insert(faults->end(), copy_faults.begin(), copy_faults.end());
}

void VersionFiles::CheckPlace(std::vector<ConfigFault>* faults) const {
  const std::string& folder = definition_.config.name();
  if (!manifest_->model.empty() && manifest_->model != folder) {
    faults->push_back(
        {0, "model", absl::StrCat("is ", manifest_->model, ", and the folder is ", folder)});
  }
  if (manifest_->version != 0 && manifest_->version != version_) {
    faults->push_back(
        {0, "version", absl::StrCat("is ", manifest_->version, ", and the folder is ", version_)});
  }
}

void VersionFiles::CopyList(const std::vector<ManifestFile>& files, const char* list,
                            const std::string& folder, std::vector<ConfigFault>* faults) {
  for (size_t i = 0; i < files.size(); ++i) {
    CopyOne(files[i], absl::StrCat(list, "[", i, "]"), folder + files[i].name, faults);
  }
}

void VersionFiles::CopyOne(const ManifestFile& file, const std::string& field,
                           const std::string& path, std::vector<ConfigFault>* faults) {
  const auto fault = [&](const char* part, const std::string& message) {
    faults->push_back({file.line, field + part, message});
  };
  Copy copy;
  if (path == kConfigFile) {  // was read before, with the model's definition
    copy.sha256 = definition_.config_sha256;
    copy.bytes = definition_.config_bytes;
  } else {
    const absl::StatusOr<Fd> opened = repository_.OpenFile(Below(path), Repository::Links::kNone);
    if (!opened.ok()) return fault("", Sentence(opened.status()));
    absl::StatusOr<Fd> sealed = CopySealed(opened->get(), left_bytes_, &copy.sha256);
    if (!sealed.ok()) return fault("", absl::StrCat(file.name, ": ", Sentence(sealed.status())));
    copy.fd = std::move(*sealed);
    copy.bytes = lseek(copy.fd.get(), 0, SEEK_END);
    lseek(copy.fd.get(), 0, SEEK_SET);
    left_bytes_ -= copy.bytes;
  }
  if (file.bytes >= 0 && static_cast<size_t>(file.bytes) != copy.bytes) {
    return fault(".bytes",
                 absl::StrCat("is ", file.bytes, ", and ", file.name, " has ", copy.bytes));
  }
  if (copy.sha256 != file.sha256) {
    return fault(".sha256", absl::StrCat("is not that of ", file.name, ", which is ", copy.sha256));
  }
  copies_.emplace(path, std::move(copy));
}

void VersionFiles::CheckModelFile(const std::vector<ConfigFault>& copy_faults,
                                  std::vector<ConfigFault>* faults) {
  if (definition_.IsEnsemble()) {
    // Members and weights stand there.
    const bool listed = copies_.count(kConfigFile) > 0 || !copy_faults.empty();
    if (!listed) faults->push_back({0, "shared", "must list config.pbtxt of an ensemble"});
    return;
  }
  const auto is_listed = [&](const std::string& name) {
    return std::any_of(manifest_->files.begin(), manifest_->files.end(),
                       [&](const ManifestFile& file) { return file.name == name; });
  };
  for (const std::string& name : definition_.files) {
    if (!is_listed(name)) continue;
    model_file_is_good_ = copies_.count(absl::StrCat(version_, "/", name)) > 0;
    return;
  }
  if (manifest_->files.empty() && !faults->empty()) return;  // was at fault itself
  faults->push_back(
      {0, "files", absl::StrCat("must list ", absl::StrJoin(definition_.files, " or "))});
}

absl::StatusOr<std::string> VersionFiles::Text(const std::string& name, size_t max_bytes) const {
  if (!manifest_.has_value()) return repository_.ReadText(Below(name), max_bytes);
  const auto copy = copies_.find(name);
  if (copy != copies_.end()) return ReadCopy(copy->second.fd.get(), copy->second.bytes, max_bytes);
  const absl::StatusOr<Fd> there = repository_.OpenFile(Below(name));
  if (absl::IsNotFound(there.status())) return there.status();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is there and not listed in the manifest, or not as it is"));
}

absl::StatusOr<Fd> VersionFiles::ModelFile() const {
  for (const std::string& name : definition_.files) {
    const std::string path = absl::StrCat(version_, "/", name);
    if (manifest_.has_value()) {
      const auto copy = copies_.find(path);
      if (copy != copies_.end()) return copy->second.fd.Duplicate();
      continue;
    }
    absl::StatusOr<Fd> file = repository_.OpenFile(Below(path));
    if (file.ok() || !absl::IsNotFound(file.status())) return file;
  }
  return absl::NotFoundError(absl::StrCat(Below(absl::StrCat(version_, "/")),
                                          absl::StrJoin(definition_.files, " or "),
                                          " does not exist"));
}

}  // namespace millrace
