#include "services/registry/compile.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "ipc/memfd.h"
#include "services/registry/sealed_file.h"
#include "services/registry/testing/temp_repository.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

constexpr int kImmutable = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;

class CompileTest : public ::testing::Test {
 protected:
  Fd File(const std::string& content) {
    temp_.Write("file", content);
    return Fd(open((temp_.root() + "/file").c_str(), O_RDWR | O_CLOEXEC));
  }
  absl::StatusOr<CompiledPlan> Compile(const std::string& content) {
    return RunCompiler(File(content).get(), "auto", options_);
  }
  std::string Error(const std::string& content) {
    const absl::StatusOr<CompiledPlan> compiled = Compile(content);
    EXPECT_FALSE(compiled.ok()) << content;
    return std::string(compiled.status().message());
  }

  TempRepository temp_;
  CompileOptions options_ = FakeOptions().compile;
};

TEST_F(CompileTest, ReturnsTheReportAndASealedPlan) {
  const absl::StatusOr<CompiledPlan> compiled = Compile(FakeReport{}.Line() + "\n");
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  EXPECT_EQ(compiled->report.format, "xgboost_json");
  EXPECT_EQ(compiled->report.features, 2u);
  EXPECT_EQ(compiled->report.margin_type, DataType::kFp32);
  EXPECT_EQ(fcntl(compiled->plan.get(), F_GET_SEALS), kImmutable);
  EXPECT_NE(write(compiled->plan.get(), "x", 1), 1);
  const auto map = MapImmutable(compiled->plan.get(), 1 << 20);
  ASSERT_TRUE(map.ok());
  EXPECT_EQ(std::string(static_cast<const char*>(map->get_address()), map->get_size()), "PLAN\n");
}

TEST_F(CompileTest, ARefusalIsTheCompilersOwnSentence) {
  EXPECT_EQ(Error(R"({"ok":false,"error":"trees[3]: a child is its own parent"})"),
            "trees[3]: a child is its own parent");
  EXPECT_EQ(Error(R"({"ok":false,"error":"a\nb"})"), "a\\x0ab");
}

TEST_F(CompileTest, AnEmptyFileIsSaidSo) { EXPECT_EQ(Error(""), "the file is empty"); }

TEST_F(CompileTest, AFileOverTheMemoryLimitIsNotTried) {
  const Fd file = File("x");
  ASSERT_EQ(ftruncate(file.get(), (int64_t{64} << 20) + 1), 0);
  EXPECT_THAT(std::string(RunCompiler(file.get(), "auto", options_).status().message()),
              HasSubstr("at most 67108864 are taken"));
}

TEST_F(CompileTest, ACompilerThatDiesIsAFaultOfTheFile) {
  EXPECT_THAT(Error("crash"), HasSubstr("ended by signal 11"));
  EXPECT_THAT(Error("silent"), HasSubstr("ended with code 3 and without a report"));
  EXPECT_THAT(Error("complain"), HasSubstr("ended with code 3"));
}

TEST_F(CompileTest, ACompilerThatHangsIsKilledInTime) {
  options_.timeout_ms = 200;
  EXPECT_THAT(Error("hang"), HasSubstr("took longer than 200 ms"));
  EXPECT_THAT(Error("flood"), HasSubstr("took longer than 200 ms"));
}

TEST_F(CompileTest, AGrandchildDoesNotKeepThePlanWritable) {
  const absl::StatusOr<CompiledPlan> compiled = Compile("linger");
  ASSERT_TRUE(compiled.ok()) << compiled.status();
  EXPECT_EQ(fcntl(compiled->plan.get(), F_GET_SEALS), kImmutable);
}

TEST_F(CompileTest, APlanOfAnotherSizeThanReportedIsRefused) {
  std::string line = FakeReport{}.Line();
  line.replace(line.find("\"plan_bytes\":5"), 14, "\"plan_bytes\":6");
  EXPECT_THAT(Error(line), HasSubstr("reported a plan of 6 bytes and wrote 5"));
}

TEST_F(CompileTest, ACompilerThatIsNotThereIsNotTheFilesFault) {
  options_.compiler = "/nonexistent/compiler";
  EXPECT_TRUE(absl::IsNotFound(Compile("x").status()));
  EXPECT_EQ(Error("x"), "the compiler: cannot be started: No such file or directory");
}

// Each field of a report taken away, and set to what it cannot be.
TEST_F(CompileTest, AReportIsCheckedFieldByField) {
  const std::string good = FakeReport{}.Line();
  EXPECT_TRUE(ParseCompileReport(good).ok());
  for (const std::string field :
       {"format", "features", "groups", "margin_dtype", "prediction_dtype", "prediction_columns",
        "objective", "trees", "nodes", "plan_bytes"}) {
    std::string line = good;
    line.insert(line.find("\"" + field + "\"") + 1, "_");
    EXPECT_THAT(std::string(ParseCompileReport(line).status().message()),
                HasSubstr("field " + field));
    for (const char* value : {"null", "-1", "1.5", "[]", "{}", "true", "\"FP16\"", "1e300"}) {
      std::string changed = good;
      const size_t start = changed.find(":", changed.find("\"" + field + "\"")) + 1;
      changed.replace(start, changed.find_first_of(",}", start) - start, value);
      const bool text = field == "format" || field == "objective";
      if (text && value[0] == '"') continue;
      EXPECT_FALSE(ParseCompileReport(changed).ok()) << changed;
    }
  }
  for (const char* line : {"", "{", "[]", "null", "{}", "{\"ok\":1}", "{\"ok\":false}",
                           "{\"ok\":false,\"error\":3}", "\xff"}) {
    EXPECT_THAT(std::string(ParseCompileReport(line).status().message()), HasSubstr("malformed"));
  }
}

TEST_F(CompileTest, CopySealedIsAnImmutableCopyFromItsStart) {
  const std::string content(700'000, 'm');
  const Fd file = File(content);
  const absl::StatusOr<Fd> copy = CopySealed(file.get(), 1 << 20);
  ASSERT_TRUE(copy.ok()) << copy.status();
  ASSERT_EQ(pwrite(file.get(), "changed", 7, 0), 7);
  std::string read_back(content.size() + 1, '\0');
  EXPECT_EQ(read(copy->get(), read_back.data(), read_back.size()),
            static_cast<ssize_t>(content.size()));
  read_back.pop_back();
  EXPECT_EQ(read_back, content);
  EXPECT_EQ(fcntl(copy->get(), F_GET_SEALS), kImmutable);
}

TEST_F(CompileTest, CopySealedRefusesWhatIsNoFile) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const Fd a(ends[0]), b(ends[1]);
  EXPECT_FALSE(CopySealed(a.get(), 100).ok());
  EXPECT_FALSE(CopySealed(-1, 100).ok());
  const Fd folder(open(temp_.root().c_str(), O_RDONLY));
  EXPECT_FALSE(CopySealed(folder.get(), 1 << 20).ok());
}

// Of every byte; and what is sealed by half is not taken for sealed.
TEST_F(CompileTest, TheHashIsOfTheWholeFile) {
  std::string text(700'000, 'x');
  std::string first, second;
  ASSERT_TRUE(CopySealed(File(text).get(), 1 << 20, &first).ok());
  text.back() = 'y';
  ASSERT_TRUE(CopySealed(File(text).get(), 1 << 20, &second).ok());
  EXPECT_NE(first, second);
  const Fd half(memfd_create("half", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(write(half.get(), "abc", 3), 3);
  ASSERT_EQ(fcntl(half.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  EXPECT_FALSE(CopySealed(half.get(), 100, nullptr).ok());  // it has no name, so no copy either
}

// Somebody writes all the time: sooner or later in the middle of a copy.
TEST_F(CompileTest, AFileThatGrowsWhileItIsCopiedIsRefused) {
  temp_.Write("growing", std::string(2 << 20, 'x'));
  const std::string path = temp_.root() + "/growing";
  const Fd file(open(path.c_str(), O_RDONLY)), other(open(path.c_str(), O_WRONLY));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (off_t i = 0; !stop; ++i) ASSERT_EQ(ftruncate(other.get(), (2 << 20) + i % 1000), 0);
  });
  absl::Status status;
  for (int i = 0; i < 1000 && status.ok(); ++i) {
    status = CopySealed(file.get(), 3 << 20).status();
  }
  stop = true;
  writer.join();
  EXPECT_TRUE(absl::IsAborted(status)) << status;
}

TEST_F(CompileTest, AChangeOfAnyKindWhileReadingIsSeen) {
  struct stat before = {};
  before.st_size = 10;
  before.st_nlink = 1;
  EXPECT_TRUE(CheckUnchanged(before, before, 10).ok());
  EXPECT_FALSE(CheckUnchanged(before, before, 9).ok());
  EXPECT_FALSE(CheckUnchanged(before, before, 11).ok());
  struct stat after[7];
  std::fill(std::begin(after), std::end(after), before);
  after[0].st_size = 11;
  after[1].st_ino = 1;
  after[2].st_dev = 1;
  after[3].st_mtim.tv_nsec = 1;
  after[4].st_ctim.tv_sec = 1;
  after[5].st_nlink = 0;
  after[6].st_mtim.tv_sec = 1;
  for (const struct stat& changed : after) {
    EXPECT_TRUE(absl::IsAborted(CheckUnchanged(before, changed, 10)));
  }
}

}  // namespace
}  // namespace millrace
