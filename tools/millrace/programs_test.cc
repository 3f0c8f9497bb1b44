#include "tools/millrace/programs.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"

namespace millrace {
namespace {

class ProgramsTest : public testing::Test {
 protected:
  ProgramsTest() : root(testing::TempDir() + "/programs") { std::filesystem::remove_all(root); }

  void Put(const std::string& path) {
    const std::filesystem::path file = root + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << "program";
    chmod(file.c_str(), 0755);
  }

  const std::string root;
};

TEST_F(ProgramsTest, AnInstalledTreeLiesBesideTheCommand) {
  for (const char* path : {"keeper/keeper", "supervisor/supervisor", "registry/compiler"})
    Put(path);
  const auto programs = FindServerPrograms("", root + "/millrace");
  ASSERT_TRUE(programs.ok()) << programs.status();
  EXPECT_EQ(programs->folder, root);
  EXPECT_EQ(programs->keeper, root + "/keeper/keeper");
  EXPECT_EQ(programs->compiler, root + "/registry/compiler");
}

TEST_F(ProgramsTest, BazelsOutputIsFoundFromItsOwnPlaceAndByItsFolder) {
  for (const char* path :
       {"services/keeper/keeper", "services/supervisor/supervisor", "kernels/compile/compiler"}) {
    Put(path);
  }
  for (const auto& [binaries, self] :
       {std::pair(std::string(), root + "/tools/millrace/millrace"),
        std::pair(root, std::string("/elsewhere/millrace")),
        std::pair(root + "/services", std::string("/elsewhere/millrace"))}) {
    const auto programs = FindServerPrograms(binaries, self);
    ASSERT_TRUE(programs.ok()) << programs.status();
    EXPECT_EQ(programs->folder, root + "/services");
    EXPECT_TRUE(std::filesystem::exists(programs->compiler));
  }
}

TEST_F(ProgramsTest, WhatIsMissingIsNamed) {
  auto programs = FindServerPrograms(root, "/x/millrace");
  ASSERT_TRUE(absl::IsNotFound(programs.status()));
  EXPECT_NE(programs.status().message().find(root), std::string::npos);
  Put("keeper/keeper");
  programs = FindServerPrograms(root, "/x/millrace");
  EXPECT_NE(programs.status().message().find("supervisor/supervisor is missing"),
            std::string::npos);
  Put("supervisor/supervisor");
  programs = FindServerPrograms(root, "/x/millrace");
  EXPECT_NE(programs.status().message().find("compiler is missing"), std::string::npos);
}

}  // namespace
}  // namespace millrace
