#include "services/registry/watch/repository_watch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/log.h"

namespace millrace {
namespace {

// Events are left to gather for so long, so that a file that is written wakes us seldom.
constexpr int64_t kGatherNs = 20 * kNanosPerMilli;
constexpr int64_t kLookAtAllNs = 60 * kNanosPerSecond;  // beside inotify
constexpr int64_t kLeastLookNs = 10 * kNanosPerMilli;
constexpr int64_t kLongestWaitMs = 60'000;

}  // namespace

RepositoryWatch::Options RepositoryWatch::OptionsOf(const Config& config) {
  using Mode = Options::Mode;
  Options options;
  options.mode = config.watch == "auto"      ? Mode::kAuto
                 : config.watch == "inotify" ? Mode::kInotify
                 : config.watch == "poll"    ? Mode::kPoll
                                             : Mode::kOff;
  options.root = config.repository;
  options.settle_ns = config.settle_ms * kNanosPerMilli;
  options.poll_ns = config.poll_ms * kNanosPerMilli;
  return options;
}

RepositoryWatch::RepositoryWatch(Options options, std::function<int64_t()> now_ns)
    : options_(std::move(options)), now_ns_(std::move(now_ns)), book_(options_.settle_ns) {}

int RepositoryWatch::fd() const {
  return inotify_.has_value() && now_ns_() >= hear_again_ns_ ? inotify_->fd() : -1;
}

int RepositoryWatch::TimeoutMs() const {
  if (!on()) return -1;
  const int64_t now = now_ns_();
  int64_t next = std::min(look_again_ns_, scan_again_ns_);
  if (!away_) next = std::min(next, std::max(book_.NextDueNs(), not_before_ns_));
  if (inotify_.has_value() && now < hear_again_ns_) next = std::min(next, hear_again_ns_);
  if (next <= now) return 0;
  return static_cast<int>(std::min((next - now) / kNanosPerMilli + 1, kLongestWaitMs));
}

void RepositoryWatch::NotTried() { not_before_ns_ = now_ns_() + options_.poll_ns; }

void RepositoryWatch::SayAway(const std::string& why) {
  if (std::exchange(away_, true)) return;
  Log(LogLevel::kError, "repository_away",
      {{"reason", why}, {"effect", "what is served stays; it is looked for again"}});
}

std::optional<RootScan> RepositoryWatch::LookAtRoot(std::vector<std::string>* models) {
  look_again_ns_ = now_ns_() + options_.poll_ns;
  absl::StatusOr<RootScan> root = RootScan::Open(options_.root);
  absl::StatusOr<std::vector<std::string>> names = root.ok() ? root->Models() : root.status();
  if (!names.ok()) {
    SayAway(absl::StrCat("it cannot be read: ", names.status().message()));
    return std::nullopt;
  }
  if (names->empty() && !book_.IsEmpty()) {
    SayAway("it shows no model, as a file system does that is not mounted");
    return std::nullopt;
  }
  if (std::exchange(away_, false)) {
    Log(LogLevel::kInfo, "repository_back", {{"models", names->size()}});
    all_dirty_ = true;
  }
  if (identity_ != root->identity()) {
    // Another folder under the same name: what was watched is not it.
    identity_ = root->identity();
    all_dirty_ = true;
    StartInotify(*root);
  }
  *models = std::move(*names);
  return std::move(*root);
}

void RepositoryWatch::StartInotify(const RootScan& root) {
  using Mode = Options::Mode;
  inotify_.reset();
  std::string why;
  if (options_.mode == Mode::kPoll) why = "registry.watch is poll";
  if (options_.mode == Mode::kAuto) why = root.WhyNotNotified();
  if (why.empty()) {
    absl::StatusOr<InotifySource> source = InotifySource::Open();
    if (source.ok()) {
      inotify_ = std::move(*source);
      Log(LogLevel::kInfo, "watching", {{"how", "inotify"}});
      return;
    }
    why = std::string(source.status().message());
  }
  FallBack(why);
}

void RepositoryWatch::FallBack(const std::string& why) {
  inotify_.reset();
  Log(LogLevel::kInfo, "watching",
      {{"how", "poll"}, {"every_ms", options_.poll_ns / kNanosPerMilli}, {"reason", why}});
}

void RepositoryWatch::Hear() {
  const InotifySource::Heard heard = inotify_->Read();
  if (heard.lost) all_dirty_ = true;
  if (heard.events.empty()) return;
  const int64_t now = now_ns_();
  hear_again_ns_ = now + kGatherNs;
  std::set<std::pair<std::string, int64_t>> renamed;
  std::set<std::string> renamed_models;
  for (const InotifySource::Event& event : heard.events) {
    dirty_.insert(event.model);
    if (event.whole_model) {
      if (event.renamed) {
        renamed_models.insert(event.model);
      } else {
        renamed_models.erase(event.model);
      }
      continue;
    }
    renamed_models.erase(event.model);
    book_.Touched(event.model, event.version, now);
    if (event.renamed) {
      renamed.emplace(event.model, event.version);
    } else {
      renamed.erase({event.model, event.version});
    }
  }
  // What was renamed is complete as it is seen now.
  ScanDirty();
  for (const auto& [model, version] : renamed) book_.Completed(model, version);
  for (const std::string& model : renamed_models) book_.CompletedModel(model);
}

void RepositoryWatch::Scan(const RootScan& root, const std::string& model) {
  const auto watch = [&](const std::string& below, int64_t version) {
    if (!inotify_.has_value()) return;
    const absl::Status added =
        inotify_->Add(absl::StrCat(options_.root, "/", below), model, version);
    if (!added.ok()) FallBack(std::string(added.message()));
  };
  watch(model, 0);  // first: what comes after the scan is told
  std::optional<ModelPrint> print = root.Model(model);
  if (inotify_.has_value() && print.has_value()) {
    for (const auto& [version, ignored] : print->versions) {
      watch(absl::StrCat(model, "/", version), version);
    }
    print = root.Model(model);
  }
  book_.Saw(model, print, now_ns_());
}

void RepositoryWatch::ScanDirty() {
  std::vector<std::string> models;
  const std::optional<RootScan> root = LookAtRoot(&models);
  if (!root.has_value()) return;
  if (all_dirty_) return ScanAll();
  for (const std::string& model : std::exchange(dirty_, {})) Scan(*root, model);
}

void RepositoryWatch::ScanAll() {
  std::vector<std::string> models;
  const std::optional<RootScan> root = LookAtRoot(&models);
  scan_again_ns_ = look_again_ns_;
  if (!root.has_value()) return;
  all_dirty_ = false;
  dirty_.clear();
  if (inotify_.has_value()) {
    const absl::Status added = inotify_->Add(options_.root, "", 0);
    if (!added.ok()) FallBack(std::string(added.message()));
  }
  const std::vector<std::string> known = book_.Models();
  std::set<std::string> all(known.begin(), known.end());
  all.insert(models.begin(), models.end());
  for (const std::string& model : all) Scan(*root, model);
  const int64_t now = now_ns_();
  if (inotify_.has_value()) {
    scan_again_ns_ = now + kLookAtAllNs;
  } else if (book_.NextDueNs() != ChangeBook::kNever) {
    scan_again_ns_ =
        now + std::min(options_.poll_ns, std::max(options_.settle_ns / 2, kLeastLookNs));
  }
}

std::optional<Reread> RepositoryWatch::Step() {
  if (!on()) return std::nullopt;
  int64_t now = now_ns_();
  if (inotify_.has_value() && now >= hear_again_ns_) Hear();
  if (now >= look_again_ns_ && inotify_.has_value()) {
    std::vector<std::string> models;
    LookAtRoot(&models);
  }
  if (now >= scan_again_ns_ || (all_dirty_ && !away_)) {
    ScanAll();
  } else if (!dirty_.empty()) {
    ScanDirty();
  }
  now = now_ns_();
  if (away_ || now < not_before_ns_) return std::nullopt;
  return book_.Due(now);
}

void RepositoryWatch::BeforeBuild() {
  if (!on()) return;
  all_dirty_ = true;
  if (inotify_.has_value()) inotify_->Read();  // what it says is seen now
  ScanAll();
}

void RepositoryWatch::BeforeLoad(const std::string& model) {
  if (!on()) return;
  std::vector<std::string> models;
  const std::optional<RootScan> root = LookAtRoot(&models);
  if (root.has_value()) Scan(*root, model);
}

}  // namespace millrace
