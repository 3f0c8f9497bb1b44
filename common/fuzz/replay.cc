// Feeds a fuzz target with the files that are named, one after the other: the corpus as a test.
//
// Each file is also fed cut short, at 16 places: an end too early is the fault that hostile bytes
// have most often. A target that finds something wrong aborts, and the last line says with what.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr size_t kCuts = 16;

// In memory of exactly this size, so that a sanitizer sees a read past its end.
void Feed(const std::string& bytes, size_t size) {
  const std::unique_ptr<uint8_t[]> copy(new uint8_t[size]);
  bytes.copy(reinterpret_cast<char*>(copy.get()), size);
  LLVMFuzzerTestOneInput(copy.get(), size);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "a corpus without files is no test\n");
    return 1;
  }
  for (int i = 1; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    if (!file) {
      fprintf(stderr, "%s: cannot be read\n", argv[i]);
      return 1;
    }
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    printf("%s\n", argv[i]);
    fflush(stdout);
    Feed(bytes, bytes.size());
    for (size_t cut = 0; cut < kCuts; ++cut) Feed(bytes, bytes.size() * cut / kCuts);
  }
  printf("%d files\n", argc - 1);
  return 0;
}
