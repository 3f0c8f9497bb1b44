// No program of the server needs a CUDA library to start: the plug-in alone does, and it is opened
// at run time.
#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <fstream>
#include <string>
#include <vector>

namespace millrace {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

template <typename T>
T At(const std::string& file, uint64_t offset) {
  T value;
  EXPECT_LE(offset + sizeof value, file.size());
  memcpy(&value, file.data() + offset, sizeof value);
  return value;
}

// The libraries that a program names as needed (DT_NEEDED).
std::vector<std::string> NeededBy(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string file((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const auto header = At<Elf64_Ehdr>(file, 0);
  std::vector<Elf64_Phdr> parts;
  for (int i = 0; i < header.e_phnum; ++i) {
    parts.push_back(At<Elf64_Phdr>(file, header.e_phoff + i * sizeof(Elf64_Phdr)));
  }
  std::vector<uint64_t> names;
  uint64_t strings = 0;
  for (const Elf64_Phdr& part : parts) {
    if (part.p_type != PT_DYNAMIC) continue;
    for (uint64_t at = 0; at < part.p_filesz; at += sizeof(Elf64_Dyn)) {
      const auto entry = At<Elf64_Dyn>(file, part.p_offset + at);
      if (entry.d_tag == DT_NEEDED) names.push_back(entry.d_un.d_val);
      if (entry.d_tag == DT_STRTAB) strings = entry.d_un.d_ptr;
    }
  }
  for (const Elf64_Phdr& part : parts) {
    if (part.p_type != PT_LOAD || strings < part.p_vaddr) continue;
    if (strings < part.p_vaddr + part.p_filesz) {
      strings = strings - part.p_vaddr + part.p_offset;
      break;
    }
  }
  std::vector<std::string> needed;
  for (uint64_t name : names) needed.emplace_back(file.c_str() + strings + name);
  return needed;
}

TEST(Linkage, NoProgramNeedsCuda) {
  for (const char* program :
       {"services/keeper/keeper", "services/supervisor/supervisor", "services/registry/registry",
        "services/ingress/ingress", "services/features/features", "services/execution/execution",
        "services/aggregation/aggregation", "kernels/compile/compiler"}) {
    const std::vector<std::string> needed = NeededBy(program);
    EXPECT_THAT(needed, Contains("libc.so.6")) << program;
    for (const char* library : {"libcuda", "libcudart", "libcublas", "libnv", "libmillrace"}) {
      EXPECT_THAT(needed, Not(Contains(HasSubstr(library)))) << program;
    }
  }
}

}  // namespace
}  // namespace millrace
