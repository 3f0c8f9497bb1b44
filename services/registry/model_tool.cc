#include "services/registry/model_tool.h"

#include <sodium/utils.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "services/registry/catalog_builder.h"
#include "services/registry/first_version.h"
#include "services/registry/manifest/signing.h"
#include "services/registry/manifest/utc.h"
#include "services/registry/text.h"
#include "services/registry/write_file.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

constexpr int kGood = 0, kNo = 1, kFailed = 2, kUsage = 64;
constexpr size_t kMaxFileBytes = 64 << 20;

absl::StatusOr<std::string> ReadAll(const std::string& path) {
  std::error_code error;
  const uintmax_t size = fs::file_size(path, error);
  if (error) return absl::NotFoundError(absl::StrCat(path, ": ", error.message()));
  if (size > kMaxFileBytes) return absl::InvalidArgumentError(path + " is larger than 64 MiB");
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return absl::UnavailableError(path + " cannot be read");
  return text;
}

// <root>/<model>/<version>, or <root>/<model>.
struct Place {
  std::string root, model;
  int64_t version = 0;  // all
  std::string Folder() const { return absl::StrCat(root, "/", model, "/", version); }
};

absl::StatusOr<Place> PlaceOf(const std::string& path) {
  std::string full = fs::absolute(path).lexically_normal().string();
  while (full.size() > 1 && full.back() == '/') full.pop_back();
  if (!fs::is_directory(full)) return absl::NotFoundError(path + " is not a folder");
  const fs::path folder(full);
  Place place;
  const std::string name = folder.filename().string();
  const bool is_model = fs::exists(folder / "config.pbtxt");
  if (!is_model && !absl::SimpleAtoi(name, &place.version)) {
    return absl::InvalidArgumentError(
        path + " is neither a model's folder nor a version's, REPOSITORY/MODEL[/VERSION]");
  }
  const fs::path model = is_model ? folder : folder.parent_path();
  place.model = model.filename().string();
  place.root = model.parent_path().string();
  if (!IsPlainName(place.model)) {
    return absl::InvalidArgumentError("a model's folder is named with A-Z a-z 0-9 _ . -");
  }
  return place;
}

// The words of a command line, taken one by one.
class Words {
 public:
  explicit Words(std::vector<std::string> words) : words_(std::move(words)) {}

  // --name=value
  std::string Flag(const std::string& name) {
    const std::string prefix = "--" + name + "=";
    for (auto word = words_.begin(); word != words_.end(); ++word) {
      if (!absl::StartsWith(*word, prefix)) continue;
      const std::string value = word->substr(prefix.size());
      words_.erase(word);
      return value;
    }
    return "";
  }
  bool Switch(const std::string& name) {
    const auto word = std::find(words_.begin(), words_.end(), "--" + name);
    if (word == words_.end()) return false;
    words_.erase(word);
    return true;
  }
  // The one that is left; "": none, or more.
  std::string Last() const { return words_.size() == 1 ? words_[0] : ""; }

 private:
  std::vector<std::string> words_;
};

class Tool {
 public:
  Tool(std::ostream& out, std::ostream& err) : out_(out), err_(err) {}

  int Run(const std::string& verb, Words words) {
    if (verb == "keygen") return KeyGen(words.Last());
    if (verb == "sign") {
      const std::string key = words.Flag("key"), until = words.Flag("until");
      return Sign(words.Last(), key, until);
    }
    LoaderOptions options;
    const Config defaults;
    options.compile = {words.Flag("compiler"), defaults.compile_memory_mb,
                       defaults.compile_timeout_ms};
    const std::string config = words.Flag("config"), sample = words.Flag("sample");
    const bool strict = words.Switch("strict"), force = words.Switch("force");
    if (options.compile.compiler.empty()) return Usage("--compiler is missing");
    if (const int code = Configure(config, &options); code != kGood) return code;
    options.manifest.trust.strict |= strict;
    const absl::StatusOr<Place> place = PlaceOf(words.Last());
    if (!place.ok()) return Fail(place.status());
    return verb == "init" ? Init(*place, options, sample, force) : Check(*place, options);
  }

 private:
  int Usage(const std::string& what) {
    err_ << "millrace: " << what << "\n";
    return kUsage;
  }
  int Fail(const absl::Status& status) {
    err_ << "millrace: " << status.message() << "\n";
    return kFailed;
  }

  // Without a file: a manifest is asked for, and nobody is trusted.
  int Configure(const std::string& path, LoaderOptions* options) {
    std::string text;
    if (!path.empty()) {
      absl::StatusOr<std::string> read = ReadAll(path);
      if (!read.ok()) return Fail(read.status());
      text = *read;
    }
    const ConfigResult parsed = ParseConfig(text);
    for (const std::string& fault : FormatFaults(path, parsed.faults)) err_ << fault << "\n";
    if (!parsed.faults.empty()) return kFailed;
    options->limits = {parsed.config.max_batch_rows, parsed.config.max_request_bytes};
    options->manifest = ManifestOptionsOf(parsed.config);
    if (path.empty()) options->manifest.mode = ManifestOptions::Mode::kRequire;
    return kGood;
  }

  int Check(const Place& place, LoaderOptions options) {
    absl::StatusOr<Repository> repository = Repository::Open(place.root);
    if (!repository.ok()) return Fail(repository.status());
    std::vector<std::string> told;
    options.tell = &told;
    const ModelLoader loader(*repository, options);
    const absl::StatusOr<ModelDefinition> definition = loader.ReadDefinition(place.model);
    if (!definition.ok()) {
      out_ << place.model << "/" << definition.status().message() << "\n";
      return kNo;
    }
    if (definition->IsEnsemble()) return CheckEnsemble(place, options);
    std::vector<int64_t> versions = {place.version};
    if (place.version == 0) {
      absl::StatusOr<std::vector<int64_t>> listed = repository->ListVersions(place.model);
      if (!listed.ok()) return Fail(listed.status());
      versions = *listed;
    }
    if (versions.empty()) told.push_back("there is no version folder");
    for (const int64_t version : versions) {
      (void)loader.LoadPlain(*definition, version);  // its faults are in `told`
    }
    return Tell(place, told);
  }

  // Its members decide what it is, so the repository is built.
  int CheckEnsemble(const Place& place, LoaderOptions options) {
    options.tell = nullptr;
    CatalogBuilder builder(options, 1, 1);
    const absl::StatusOr<const BuiltCatalog*> built = builder.Build(place.root);
    if (!built.ok()) return Fail(built.status());
    std::vector<std::string> told;
    for (const FailedModel& failed : (*built)->catalog.failed()) {
      if (failed.name() == place.model) told.push_back(failed.reason());
    }
    return Tell(place, told);
  }

  int Tell(const Place& place, const std::vector<std::string>& told) {
    for (const std::string& fault : told) out_ << place.model << "/" << fault << "\n";
    if (told.empty()) out_ << place.model << ": no fault\n";
    return told.empty() ? kGood : kNo;
  }

  int Init(const Place& place, const LoaderOptions& options, const std::string& sample_path,
           bool force) {
    if (place.version == 0) return Usage("init takes one version, REPOSITORY/MODEL/VERSION");
    std::string sample;
    if (!sample_path.empty()) {
      absl::StatusOr<std::string> read = ReadAll(sample_path);
      if (!read.ok()) return Fail(read.status());
      sample = std::move(*read);
    }
    const absl::StatusOr<std::string> text =
        DescribeVersion(place.root, place.model, place.version, options, sample);
    if (!text.ok()) return Fail(text.status());
    const std::string path = absl::StrCat(place.Folder(), "/", kManifestFile);
    const absl::Status written = WriteWholeFile(path, *text, 0644, force);
    if (!written.ok()) return Fail(written);
    out_ << "wrote " << path << "; fill in what stands after '#!', then check and sign it\n";
    return kGood;
  }

  int Sign(const std::string& path, const std::string& key_path, const std::string& until) {
    if (path.empty() || key_path.empty()) return Usage("sign takes a version and --key=FILE");
    if (!until.empty() && !ParseUtc(until).has_value()) {
      return Usage("--until must be YYYY-MM-DDThh:mm:ssZ");
    }
    struct stat info;
    if (stat(key_path.c_str(), &info) == 0 && (info.st_mode & 077) != 0) {
      return Fail(absl::FailedPreconditionError(
          key_path + " can be read by others; chmod 600 it, and ask whether it still is a secret"));
    }
    absl::StatusOr<std::string> secret = ReadAll(key_path);
    if (!secret.ok()) return Fail(secret.status());
    absl::StatusOr<SigningKey> key = ParseSigningKey(*secret);
    sodium_memzero(secret->data(), secret->size());
    if (!key.ok())
      return Fail(absl::InvalidArgumentError(absl::StrCat(key_path, " ", key.status().message())));
    const int code = SignWith(path, *key, until);
    sodium_memzero(key->seed.data(), key->seed.size());
    return code;
  }

  int SignWith(const std::string& path, const SigningKey& key, const std::string& until) {
    const std::string file = fs::is_directory(path) ? absl::StrCat(path, "/", kManifestFile) : path;
    absl::StatusOr<std::string> text = ReadAll(file);
    if (!text.ok()) return Fail(text.status());
    const std::vector<std::string> faults = FormatFaults(file, ReadManifest(*text).faults);
    for (const std::string& fault : faults) out_ << fault << "\n";
    if (!faults.empty()) return kNo;
    const absl::StatusOr<std::string> done =
        SignManifest(*text, key, FormatUtc(WallSeconds()), until);
    if (!done.ok()) return Fail(done.status());
    if (const absl::Status s = WriteWholeFile(file, *done, 0644, true); !s.ok()) return Fail(s);
    out_ << "signed " << file << " by " << key.public_key << "\n";
    return kGood;
  }

  int KeyGen(const std::string& path) {
    if (path.empty()) return Usage("keygen takes the file that the secret key goes to");
    SigningKey key = MakeSigningKey();
    std::string secret = FormatSigningKey(key);
    const absl::Status written = WriteWholeFile(path, secret, 0600, false);
    sodium_memzero(secret.data(), secret.size());
    sodium_memzero(key.seed.data(), key.seed.size());
    if (!written.ok()) return Fail(written);
    out_ << key.public_key << "\n";
    return kGood;
  }

  std::ostream& out_;
  std::ostream& err_;
};

}  // namespace

bool IsModelTool(const std::string& word) {
  return word == "check" || word == "init" || word == "sign" || word == "keygen";
}

int RunModelTool(const std::vector<std::string>& words, std::ostream& out, std::ostream& err) {
  return Tool(out, err).Run(words.at(0), Words({words.begin() + 1, words.end()}));
}

}  // namespace millrace
