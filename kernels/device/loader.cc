#include "kernels/device/loader.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace millrace {
namespace {

constexpr char kLibraryName[] = "libmillrace_cuda.so";
constexpr std::array<std::string_view, kDeviceStates> kStateNames = {
    "ready",       "off",       "no_library", "not_loadable", "no_symbol",
    "other_build", "no_driver", "old_driver", "no_device",    "failed"};

// What a plug-in wrote, as one line: it may lack its end.
template <size_t n>
std::string Line(const char (&text)[n]) {
  std::string line(text, strnlen(text, n));
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  return line;
}

std::string InBrackets(const std::string& text) {
  return text.empty() ? "" : absl::StrCat(" (", text, ")");
}

// Whether the file holds all that its program headers name. The dynamic linker takes a file that
// was cut short, by a copy that failed, and dies of it (SIGBUS).
bool IsWhole(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info;
  Elf64_Ehdr header;
  bool whole = fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
               pread(fd, &header, sizeof header, 0) == sizeof header &&
               memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
               header.e_ident[EI_CLASS] == ELFCLASS64 && header.e_phentsize == sizeof(Elf64_Phdr);
  for (int i = 0; whole && i < header.e_phnum; ++i) {
    Elf64_Phdr part;
    const auto at = static_cast<off_t>(header.e_phoff + i * sizeof part);
    const auto size = static_cast<uint64_t>(info.st_size);
    whole = pread(fd, &part, sizeof part, at) == sizeof part && part.p_offset <= size &&
            part.p_filesz <= size - part.p_offset;
  }
  if (fd >= 0) close(fd);
  return whole;
}

Device Without(DeviceState state, std::string sentence) {
  Device device;
  device.state = state;
  device.sentence = std::move(sentence);
  return device;
}

std::string Version(int32_t version) {  // 13000 is 13.0
  return absl::StrCat(version / 1000, ".", version % 1000 / 10);
}

std::string Describe(const DeviceInfo& info) {
  return absl::StrCat(Line(info.name), " (sm_", info.compute_major, info.compute_minor, ", ",
                      info.memory_bytes >> 20, " MiB, driver ", Version(info.driver_version),
                      ", runtime ", Version(info.runtime_version),
                      info.cublas_version == 0 ? ", no cuBLAS here"
                                               : absl::StrCat(", cuBLAS ", info.cublas_version),
                      info.reads_host_memory != 0 ? "" : ", inputs are copied", ")");
}

// Why a device of a plug-in that is ours did not start.
Device NotStarted(DeviceCode code, int ordinal, const std::string& why) {
  switch (code) {
    case DeviceCode::kNoDriver:
      return Without(DeviceState::kNoDriver, "no NVIDIA driver on this machine");
    case DeviceCode::kOldDriver:
      return Without(
          DeviceState::kOldDriver,
          absl::StrCat("the NVIDIA driver is older than the plug-in needs", InBrackets(why)));
    case DeviceCode::kNoDevice:
      return Without(DeviceState::kNoDevice,
                     absl::StrCat("the driver has no device ", ordinal,
                                  " that this process may use", InBrackets(why)));
    default:
      return Without(DeviceState::kFailed,
                     absl::StrCat("device ", ordinal, " did not start, code ",
                                  static_cast<int32_t>(code), InBrackets(why)));
  }
}

}  // namespace

std::string_view DeviceStateName(DeviceState state) {
  return kStateNames[static_cast<size_t>(state)];
}

Device OpenDevice(const std::string& path, int ordinal) {
  if (access(path.c_str(), F_OK) != 0) {
    return Without(DeviceState::kNoLibrary, absl::StrCat("no device plug-in at ", path));
  }
  if (!IsWhole(path)) {
    return Without(DeviceState::kNotLoadable,
                   absl::StrCat("the device plug-in cannot be loaded (", path,
                                " is no shared object, or not the whole of one)"));
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    return Without(DeviceState::kNotLoadable,
                   absl::StrCat("the device plug-in cannot be loaded",
                                InBrackets(why == nullptr ? path : std::string(why))));
  }
  const auto symbol = reinterpret_cast<DeviceSymbol>(dlsym(library, kDeviceSymbol));
  const DevicePlugin* plugin = symbol == nullptr ? nullptr : symbol();
  if (plugin == nullptr) {
    return Without(DeviceState::kNoSymbol, absl::StrCat(path, " is no device plug-in of Millrace"));
  }
  // Before any other word: in another build it may mean something else.
  if (plugin->abi != kDeviceAbi) {
    return Without(DeviceState::kOtherBuild,
                   absl::StrCat("the device plug-in ", path, " is of another build"));
  }
  Device device;
  DeviceError error = {};
  const DeviceCode code = plugin->start(ordinal, &device.info, &error);
  if (code != DeviceCode::kOk) return NotStarted(code, ordinal, Line(error.sentence));
  device.state = DeviceState::kReady;
  device.plugin = plugin;
  device.sentence = Describe(device.info);
  return device;
}

std::string DefaultDevicePath() {
  char self[4096];
  const ssize_t size = readlink("/proc/self/exe", self, sizeof self);
  const std::string path(self, size > 0 ? static_cast<size_t>(size) : 0);
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? kLibraryName : path.substr(0, slash + 1) + kLibraryName;
}

}  // namespace millrace
