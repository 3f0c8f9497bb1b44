// The real shared object: what it needs, what it shows, and what it says on this machine.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <link.h>

#include <set>
#include <string>

#include "kernels/cuda/load_plugin.h"

namespace millrace {
namespace {

const char kPath[] = "kernels/cuda/libmillrace_cuda.so";

std::set<std::string> NeededBy(void* library) {
  link_map* map = nullptr;
  EXPECT_EQ(dlinfo(library, RTLD_DI_LINKMAP, &map), 0);
  const char* strings = nullptr;
  for (const ElfW(Dyn)* entry = map->l_ld; entry->d_tag != DT_NULL; ++entry) {
    if (entry->d_tag == DT_STRTAB) strings = reinterpret_cast<const char*>(entry->d_un.d_ptr);
  }
  std::set<std::string> needed;
  for (const ElfW(Dyn)* entry = map->l_ld; entry->d_tag != DT_NULL; ++entry) {
    if (entry->d_tag == DT_NEEDED) needed.insert(strings + entry->d_un.d_val);
  }
  return needed;
}

TEST(Library, NeedsNothingOfCuda) {
  void* const library = dlopen(kPath, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  const std::set<std::string> known = {"libstdc++.so.6", "libm.so.6",           "libgcc_s.so.1",
                                       "libc.so.6",      "libdl.so.2",          "libpthread.so.0",
                                       "librt.so.1",     "ld-linux-x86-64.so.2"};
  const std::set<std::string> needed = NeededBy(library);
  EXPECT_EQ(needed.count("libc.so.6"), 1u);
  for (const std::string& name : needed) EXPECT_EQ(known.count(name), 1u) << name;
}

TEST(Library, ShowsOneSymbol) {
  void* const library = dlopen(kPath, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  EXPECT_NE(dlsym(library, kDeviceSymbol), nullptr);
  EXPECT_EQ(dlsym(library, "cudaMalloc"), nullptr);
  EXPECT_EQ(dlsym(library, "_ZN8millrace11CheckFailedEPKciS1_S1_"), nullptr);
}

// The driver decides which of these is true; that the process is still there is what counts.
TEST(Library, StartsOrSaysWhyNot) {
  std::string fault;
  const DevicePlugin* plugin = LoadPlugin(kPath, &fault);
  ASSERT_NE(plugin, nullptr) << fault;
  const bool driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL) != nullptr;
  DeviceInfo info = {};
  DeviceError error = {};
  const DeviceCode code = plugin->start(0, &info, &error);
  if (!driver) {
    EXPECT_EQ(code, DeviceCode::kNoDriver);
    EXPECT_STREQ(error.sentence, "no CUDA driver on this machine");
    EXPECT_EQ(info.driver_version, 0);
    EXPECT_GE(info.runtime_version, 12000);
    const int word = 0;
    EXPECT_EQ(plugin->register_memory(&word, sizeof word, &error), DeviceCode::kInvalid);
    return;
  }
  if (code == DeviceCode::kOk) {
    EXPECT_STREQ(error.sentence, "");
    EXPECT_STRNE(info.name, "");
  } else {
    EXPECT_STRNE(error.sentence, "");
  }
}

}  // namespace
}  // namespace millrace
