#include "services/registry/repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "services/registry/testing/temp_repository.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class RepositoryTest : public ::testing::Test {
 protected:
  Repository Open() {
    absl::StatusOr<Repository> repository = Repository::Open(temp_.root());
    EXPECT_TRUE(repository.ok()) << repository.status();
    return std::move(*repository);
  }
  std::string OpenError(const std::string& path) {
    const absl::StatusOr<Fd> file = Open().OpenFile(path);
    EXPECT_FALSE(file.ok()) << path;
    return std::string(file.status().message());
  }

  TempRepository temp_;
};

TEST_F(RepositoryTest, ARootThatIsNotThereIsNotFoundByName) {
  for (const std::string& root : {temp_.root() + "/none", std::string("")}) {
    const absl::StatusOr<Repository> repository = Repository::Open(root);
    EXPECT_TRUE(absl::IsNotFound(repository.status()));
    EXPECT_THAT(std::string(repository.status().message()), HasSubstr("repository: "));
  }
  temp_.Write("file", "x");
  EXPECT_FALSE(Repository::Open(temp_.root() + "/file").ok());
}

TEST_F(RepositoryTest, ListsFoldersSortedAndRefusesBadNames) {
  EXPECT_THAT(Open().ListModels()->models, IsEmpty());
  temp_.MakeFolder("b");
  temp_.MakeFolder("a.1");
  temp_.MakeFolder(".git");
  temp_.MakeFolder("bad name");
  temp_.Write("README.md", "not a model");
  const absl::StatusOr<Repository::Listing> listing = Open().ListModels();
  ASSERT_TRUE(listing.ok());
  EXPECT_THAT(listing->models, ElementsAre("a.1", "b"));
  ASSERT_EQ(listing->refused.size(), 1u);
  EXPECT_EQ(listing->refused[0].name, "bad name");
}

TEST_F(RepositoryTest, VersionsAreSortedAsNumbersAndOthersAreFaults) {
  temp_.MakeFolder("m/10");
  temp_.MakeFolder("m/9");
  temp_.MakeFolder("m/assets");
  temp_.Write("m/3", "a file is no version");
  temp_.Write("m/config.pbtxt", "");
  EXPECT_THAT(*Open().ListVersions("m"), ElementsAre(9, 10));
  for (const char* bad : {"m/0", "m/01", "m/1a", "m/99999999999"}) {
    temp_.MakeFolder(bad);
    EXPECT_THAT(std::string(Open().ListVersions("m").status().message()),
                HasSubstr("version folder"))
        << bad;
    temp_.Remove(bad);
  }
  EXPECT_TRUE(absl::IsNotFound(Open().ListVersions("none").status()));
}

TEST_F(RepositoryTest, ReadsRegularFilesOnly) {
  temp_.Write("m/1/model.json", "content");
  EXPECT_TRUE(Open().OpenFile("m/1/model.json").ok());
  EXPECT_THAT(OpenError("m/1/none"), HasSubstr("m/1/none does not exist"));
  EXPECT_THAT(OpenError("m/1"), HasSubstr("is not a regular file"));
  ASSERT_EQ(mkfifo((temp_.root() + "/m/pipe").c_str(), 0600), 0);
  EXPECT_THAT(OpenError("m/pipe"), HasSubstr("is not a regular file"));  // and does not wait
  EXPECT_THAT(OpenError("m/1/none"), Not(HasSubstr(temp_.root())));
}

TEST_F(RepositoryTest, LinksMayLeadAboutInsideAndNeverOut) {
  TempRepository outside;
  outside.Write("secret", "s");
  temp_.Write("m/data/model.json", "x");
  temp_.MakeLink("m/1", "data");
  EXPECT_TRUE(Open().OpenFile("m/1/model.json").ok());
  temp_.MakeLink("m/absolute", outside.root() + "/secret");
  temp_.MakeLink("m/relative",
                 "../../" + outside.root().substr(outside.root().rfind('/') + 1) + "/secret");
  temp_.MakeLink("m/folder", outside.root());
  temp_.MakeLink("m/to_itself", "to_itself");
  for (const char* path : {"m/absolute", "m/relative", "m/folder/secret"}) {
    EXPECT_THAT(OpenError(path), HasSubstr("leads out of the repository")) << path;
  }
  EXPECT_THAT(OpenError("../" + temp_.root()), HasSubstr("leads out"));
  EXPECT_THAT(OpenError("/etc/hostname"), HasSubstr("leads out"));
  EXPECT_FALSE(Open().OpenFile("m/to_itself").ok());
}

TEST_F(RepositoryTest, AModelThatIsALinkToTheOutsideIsRefusedByName) {
  TempRepository outside;
  outside.MakeFolder("1");
  temp_.MakeLink("stolen", outside.root());
  const absl::StatusOr<Repository::Listing> listing = Open().ListModels();
  ASSERT_EQ(listing->refused.size(), 1u);
  EXPECT_EQ(listing->refused[0].name, "stolen");
  EXPECT_THAT(listing->refused[0].reason, HasSubstr("leads out of the repository"));
}

TEST_F(RepositoryTest, ReadTextHoldsToItsLimit) {
  temp_.Write("m/t", std::string(100, 'x'));
  EXPECT_EQ(*Open().ReadText("m/t", 100), std::string(100, 'x'));
  EXPECT_THAT(std::string(Open().ReadText("m/t", 99).status().message()),
              HasSubstr("m/t is larger than 99 bytes"));
}

}  // namespace
}  // namespace millrace
