#include "services/registry/watch/repository_watch.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "common/check.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using Mode = RepositoryWatch::Options::Mode;
using Set = std::set<int64_t>;

constexpr int64_t kMs = 1'000'000;

// A repository on disk and a clock of the test's: events are there when a call that makes them
// returns, so nothing waits.
class RepositoryWatchTest : public ::testing::TestWithParam<Mode> {
 protected:
  RepositoryWatchTest() {
    std::string folder = (fs::temp_directory_path() / "millrace-watch.XXXXXX").string();
    MR_CHECK(mkdtemp(folder.data()) != nullptr, "a temporary folder");
    base_ = folder;
    root_ = base_ + "/models";
    Write("m/config.pbtxt", "config");
    Write("m/1/model.json", "one");
  }
  ~RepositoryWatchTest() override { fs::remove_all(base_); }

  void Start(Mode mode) {
    RepositoryWatch::Options options;
    options.mode = mode;
    options.root = root_;
    options.settle_ns = 1000 * kMs;
    options.poll_ns = 3000 * kMs;
    watch_ = std::make_unique<RepositoryWatch>(options, [this] { return now_ns_; });
    watch_->BeforeBuild();
    watch_->AfterBuild();
  }
  void Write(const std::string& below, const std::string& text) const {
    const fs::path path = fs::path(root_) / below;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }
  void Move(const std::string& from, const std::string& to) const {
    fs::rename(fs::path(root_) / from, fs::path(root_) / to);
  }

  // Lets time pass as the registry does, and says what was due first within it, as "m/2 m/3".
  std::string Within(int64_t ms) {
    const int64_t until_ns = now_ns_ + ms * kMs;
    while (true) {
      pollfd ready = {watch_->fd(), POLLIN, 0};
      const bool heard = ready.fd >= 0 && poll(&ready, 1, 0) == 1;
      const int wait_ms = watch_->TimeoutMs();
      if (!heard) {
        if (wait_ms < 0 || now_ns_ + wait_ms * kMs > until_ns) break;
        now_ns_ += wait_ms * kMs;
      }
      if (++steps_ > 10'000) {
        ADD_FAILURE() << "it does not come to rest";
        break;
      }
      if (const std::optional<Reread> due = watch_->Step()) {
        watch_->Built(*due);
        return Text(*due);
      }
    }
    now_ns_ = until_ns;
    return "";
  }
  static std::string Text(const Reread& reread) {
    std::string text;
    for (const auto& [name, versions] : reread.models) {
      if (versions.all) text += name + " ";
      if (versions.all) continue;
      for (int64_t version : versions.some) text += name + "/" + std::to_string(version) + " ";
    }
    for (const std::string& name : reread.gone) text += "-" + name + " ";
    return text.substr(0, text.size() - (text.empty() ? 0 : 1));
  }

  std::string base_, root_;
  int64_t now_ns_ = 1000 * kMs;
  int steps_ = 0;
  std::unique_ptr<RepositoryWatch> watch_;
};

class EitherWay : public RepositoryWatchTest {
 protected:
  EitherWay() {
    Start(GetParam());
    EXPECT_EQ(watch_->uses_inotify(), GetParam() == Mode::kInotify);
  }
};
INSTANTIATE_TEST_SUITE_P(Ways, EitherWay, ::testing::Values(Mode::kInotify, Mode::kPoll));

TEST_P(EitherWay, ARepositoryAtRestIsNeverDue) {
  EXPECT_EQ(Within(600'000), "");
  EXPECT_LE(steps_, 450);
}

TEST_P(EitherWay, ANewVersionIsDueAndNothingElse) {
  Write("m/2/model.json", "two");
  EXPECT_EQ(Within(10'000), "m/2");
  EXPECT_EQ(Within(60'000), "");
}

TEST_P(EitherWay, AVersionThatIsStillBeingWrittenIsNot) {
  Write("m/2/model.json", "t");
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(Within(400), "");
    std::ofstream(root_ + "/m/2/model.json", std::ios::app) << "x";
  }
  EXPECT_EQ(Within(10'000), "m/2");
}

TEST_P(EitherWay, ANewModelAndOneThatLeft) {
  Write("n/config.pbtxt", "config");
  Write("n/1/model.json", "one");
  EXPECT_EQ(Within(10'000), "n");
  fs::remove_all(root_ + "/m");
  EXPECT_EQ(Within(10'000), "-m");
}

TEST_P(EitherWay, AChangeOfTheConfigIsAllOfTheModel) {
  Write("m/config.pbtxt", "another");
  EXPECT_EQ(Within(10'000), "m");
}

TEST_P(EitherWay, FoldersThatCameLaterAreWatchedToo) {
  Write("n/config.pbtxt", "config");
  Write("n/1/model.json", "one");
  EXPECT_EQ(Within(10'000), "n");
  Write("n/1/model.json", "other");
  EXPECT_EQ(Within(10'000), "n/1");
  Write("n/2/model.json", "two");
  EXPECT_EQ(Within(10'000), "n/2");
}

TEST_P(EitherWay, UnfinishedFilesUnderADotAreNobodys) {
  Write("m/1/.model.json.part", "half");
  Write("m/.2/model.json", "two");
  Write(".tmp/config.pbtxt", "config");
  EXPECT_EQ(Within(120'000), "");
}

TEST_P(EitherWay, ARootThatVanishesTakesNothingAway) {
  fs::rename(root_, base_ + "/aside");
  EXPECT_EQ(Within(60'000), "");
  EXPECT_TRUE(watch_->is_away());
  fs::rename(base_ + "/aside", root_);
  EXPECT_EQ(Within(60'000), "");
  EXPECT_FALSE(watch_->is_away());
  Write("m/2/model.json", "two");
  EXPECT_EQ(Within(10'000), "m/2");
}

TEST_P(EitherWay, ARootThatShowsNothingIsNotMounted) {
  fs::rename(root_, base_ + "/aside");
  fs::create_directory(root_);
  EXPECT_EQ(Within(60'000), "");
  EXPECT_TRUE(watch_->is_away());
  fs::remove(root_);
  fs::rename(base_ + "/aside", root_);
  Write("m/2/model.json", "two");
  EXPECT_EQ(Within(60'000), "m/2");
}

TEST_P(EitherWay, AnotherFolderUnderTheRootsNameIsTakenUp) {
  Write("../other/n/config.pbtxt", "config");
  fs::rename(root_, base_ + "/aside");
  fs::rename(base_ + "/other", root_);
  EXPECT_EQ(Within(10'000), "n -m");
  // And what lies there is watched.
  Write("n/1/model.json", "one");
  EXPECT_EQ(Within(10'000), "n/1");
}

TEST_P(EitherWay, WhatCouldNotBeTriedIsDueAgainLater) {
  Write("m/2/model.json", "two");
  now_ns_ += 5000 * kMs;
  while (!watch_->Step().has_value()) now_ns_ += 500 * kMs;
  watch_->NotTried();
  EXPECT_EQ(Within(2'900), "");
  EXPECT_EQ(Within(200), "m/2");
}

TEST_P(EitherWay, WhatWasBuiltOnRequestIsNotDue) {
  Write("m/2/model.json", "two");
  watch_->BeforeBuild();
  watch_->AfterBuild();
  Write("m/3/model.json", "three");
  watch_->BeforeLoad("m");
  Reread reread;
  reread.models["m"].all = true;
  watch_->Built(reread);
  EXPECT_EQ(Within(60'000), "");
}

TEST_F(RepositoryWatchTest, WithInotifyAVersionWhoseManifestIsRenamedIntoPlaceIsDueAtOnce) {
  Start(Mode::kInotify);
  Write("m/2/model.json", "two");
  Write("m/2/.manifest.part", "...");
  EXPECT_EQ(Within(100), "");
  Move("m/2/.manifest.part", "m/2/manifest.yaml");
  EXPECT_EQ(Within(100), "m/2");
}

TEST_F(RepositoryWatchTest, WithInotifyFoldersThatAreRenamedIntoPlaceAreDueAtOnce) {
  Start(Mode::kInotify);
  Write("m/.2/model.json", "two");
  Write(".n/config.pbtxt", "config");
  Write(".n/1/model.json", "one");
  EXPECT_EQ(Within(100), "");
  Move("m/.2", "m/2");
  EXPECT_EQ(Within(100), "m/2");
  Move(".n", "n");
  EXPECT_EQ(Within(100), "n");
}

TEST_F(RepositoryWatchTest, AManifestThatIsWrittenInPlaceWaits) {
  Start(Mode::kInotify);
  Write("m/2/model.json", "two");
  EXPECT_EQ(Within(100), "");  // the folder is watched by now
  Write("m/2/manifest.yaml", "...");
  EXPECT_EQ(Within(900), "");
  EXPECT_EQ(Within(200), "m/2");
}

TEST_F(RepositoryWatchTest, ALongWriteWakesItSeldom) {
  Start(Mode::kInotify);
  std::filesystem::create_directory(root_ + "/m/2");
  std::ofstream file(root_ + "/m/2/model.json");
  for (int i = 0; i < 1000; ++i) {  // a write a millisecond
    file << "x" << std::flush;
    EXPECT_EQ(Within(1), "");
  }
  EXPECT_LE(steps_, 60);
}

TEST_F(RepositoryWatchTest, AQueueThatOverflowsLosesNothing) {
  Start(Mode::kInotify);
  // Two names in turn, so that none is the same as the one before.
  const std::string paths[2] = {root_ + "/m/1/a", root_ + "/m/1/b"};
  for (int i = 0; i < 40'000; ++i)
    close(open(paths[i % 2].c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600));
  Write("n/config.pbtxt", "config");  // is told of after the queue was full
  EXPECT_EQ(Within(10'000), "m/1 n");
}

TEST_F(RepositoryWatchTest, TargetsOfSymbolicLinksAreSeenWithinAMinute) {
  Write("m/shared/model.json", "one");
  fs::remove_all(root_ + "/m/1");
  fs::create_directory(root_ + "/m/1");
  fs::create_symlink("../shared/model.json", root_ + "/m/1/model.json");
  Start(Mode::kInotify);
  Write("m/shared/model.json", "another");
  EXPECT_EQ(Within(70'000), "m/1");
}

TEST_F(RepositoryWatchTest, OffItNeverWakes) {
  Start(Mode::kOff);
  Write("m/2/model.json", "two");
  EXPECT_EQ(watch_->fd(), -1);
  EXPECT_EQ(watch_->TimeoutMs(), -1);
  EXPECT_FALSE(watch_->Step().has_value());
}

TEST_F(RepositoryWatchTest, NoDescriptorOfTheRepositoryIsKept) {
  Start(Mode::kInotify);
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    EXPECT_NE(fs::read_symlink(entry.path(), gone).string().rfind(base_, 0), 0u);
  }
}

TEST(TreeScanTest, NamesOfVersions) {
  EXPECT_EQ(VersionOfName("12"), 12);
  for (const char* name : {"", "0", "01", "1a", "-1", "1234567890"}) {
    EXPECT_EQ(VersionOfName(name), std::nullopt) << name;
  }
}

TEST(TreeScanTest, FileSystemsOfOtherMachines) {
  EXPECT_EQ(RemoteFileSystem(0x6969), "NFS");
  EXPECT_EQ(RemoteFileSystem(0x65735546), "FUSE");
  EXPECT_EQ(RemoteFileSystem(0xEF53), "");      // ext4
  EXPECT_EQ(RemoteFileSystem(0x01021994), "");  // tmpfs
  EXPECT_EQ(RemoteFileSystem(0x794c7630), "");  // overlayfs
}

}  // namespace
}  // namespace millrace
