// One fault for each sanitizer, by name. Without a sanitizer nothing is seen of any of them: the
// program ends with 0.
#include <stdio.h>
#include <string.h>

#include <memory>
#include <thread>

namespace {

void OverrunHeap() {
  volatile size_t size = 13;
  const std::unique_ptr<char[]> bytes(new char[size]());
  volatile char* at = bytes.get();
  printf("behind the block: %d\n", at[size]);
}

void Overflow() {
  volatile int most = 2147483647;
  const int more = most + 1;
  printf("more than the most: %d\n", more);
}

void Race() {
  int shared = 0;
  volatile int* word = &shared;
  std::thread other([word] { *word = *word + 1; });
  *word = *word + 1;
  other.join();
  printf("one or two: %d\n", shared);
}

}  // namespace

int main(int argc, char** argv) {
  const char* fault = argc > 1 ? argv[1] : "";
  if (strcmp(fault, "heap") == 0) OverrunHeap();
  if (strcmp(fault, "overflow") == 0) Overflow();
  if (strcmp(fault, "race") == 0) Race();
  return 0;
}
