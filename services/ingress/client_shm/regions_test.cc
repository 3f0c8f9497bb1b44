#include "services/ingress/client_shm/regions.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <limits>
#include <thread>

#include "absl/strings/str_cat.h"
#include "services/ingress/client_shm/shared_memory_for_test.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();

size_t OpenDescriptors() {
  size_t count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

ClientRegionsOptions Allowed() {
  ClientRegionsOptions options;
  options.allowed = true;
  options.max_regions = 4;
  options.max_request_bytes = 1 << 10;
  return options;
}

class ClientRegionsTest : public ::testing::Test {
 protected:
  std::string Fault(std::string_view key, uint64_t offset = 0, uint64_t bytes = 1) {
    const absl::Status status = regions_.Register("r", key, offset, bytes);
    EXPECT_TRUE(status.ok() || absl::IsInvalidArgument(status)) << status;
    if (status.ok()) {
      EXPECT_TRUE(regions_.Unregister("r").ok());
    }
    return std::string(status.message());
  }
  absl::StatusOr<std::string> Read(std::string_view name, uint64_t offset, uint64_t bytes) {
    const absl::StatusOr<RegionPlace> place = regions_.Find(name, offset, bytes);
    if (!place.ok()) return place.status();
    std::string out;
    if (absl::Status status = place->AppendTo(&out); !status.ok()) return status;
    return out;
  }

  ClientRegions regions_{Allowed()};
};

TEST_F(ClientRegionsTest, OffMeansOff) {
  ClientRegions off{ClientRegionsOptions()};
  SharedMemory memory("12345678");
  EXPECT_TRUE(absl::IsUnimplemented(off.Register("r", memory.key(), 0, 8)));
  EXPECT_TRUE(absl::IsUnimplemented(off.Unregister("r")));
  EXPECT_TRUE(absl::IsUnimplemented(off.Status("").status()));
  EXPECT_TRUE(absl::IsUnimplemented(off.Find("r", 0, 8).status()));
}

TEST_F(ClientRegionsTest, ReadsAndWritesPlacesOfARegion) {
  SharedMemory memory("....abcdefgh....");
  ASSERT_TRUE(regions_.Register("r", memory.key(), 4, 8).ok());
  EXPECT_EQ(*Read("r", 0, 8), "abcdefgh");
  EXPECT_EQ(*Read("r", 2, 3), "cde");
  EXPECT_EQ(*Read("r", 8, 0), "");
  ASSERT_TRUE(regions_.Find("r", 4, 4)->Write("XY").ok());
  EXPECT_EQ(memory.Bytes(), "....abcdXYgh....");
}

// Whatever offset and size are, nothing outside the region is reached.
TEST_F(ClientRegionsTest, NoOffsetAndSizeReachOutside) {
  SharedMemory memory("....abcdefgh....");
  ASSERT_TRUE(regions_.Register("r", memory.key(), 4, 8).ok());
  const std::pair<uint64_t, uint64_t> outside[] = {
      {0, 9}, {1, 8}, {8, 1}, {9, 0}, {kMost, 1}, {kMost, kMost}, {1, kMost}, {kMost - 3, 8}};
  for (const auto& [offset, bytes] : outside) {
    const absl::Status status = regions_.Find("r", offset, bytes).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << offset << " " << bytes;
  }
  EXPECT_THAT(std::string(regions_.Find("r", 4, 4)->Write("12345").message()),
              HasSubstr("4 bytes, and the output has 5"));
  EXPECT_EQ(memory.Bytes(), "....abcdefgh....");
  for (const auto& [offset, bytes] : {std::pair<uint64_t, uint64_t>{0, 17},
                                      {16, 1},
                                      {17, 1},
                                      {kMost, 1},
                                      {kMost, kMost},
                                      {1, kMost}}) {
    EXPECT_THAT(Fault(memory.key(), offset, bytes), HasSubstr("byte_size: ")) << offset;
  }
  EXPECT_THAT(Fault(memory.key(), 0, 0), HasSubstr("byte_size: must be more than 0"));
}

TEST_F(ClientRegionsTest, ATruncatedFileIsAnErrorAndIsNotMadeLargerAgain) {
  SharedMemory memory(std::string(8192, 'x'));
  ASSERT_TRUE(regions_.Register("r", memory.key(), 0, 8192).ok());
  const RegionPlace output = *regions_.Find("r", 4096, 1024);
  for (const size_t size : {size_t{5000}, size_t{4096}, size_t{10}, size_t{0}}) {
    memory.Truncate(size);
    const absl::Status read = Read("r", 4096, 1024).status();
    EXPECT_TRUE(absl::IsInvalidArgument(read)) << read;
    EXPECT_THAT(std::string(read.message()), HasSubstr("is shorter than was registered"));
    EXPECT_TRUE(absl::IsInvalidArgument(output.Write(std::string(1024, 'y'))));
    EXPECT_EQ(memory.size(), size);
  }
  memory.Truncate(8192);
  EXPECT_EQ(*Read("r", 4096, 1024), std::string(1024, '\0'));
}

TEST_F(ClientRegionsTest, AFaultLeavesWhatWasThere) {
  SharedMemory memory("12345678");
  ASSERT_TRUE(regions_.Register("r", memory.key(), 0, 8).ok());
  memory.Truncate(4);
  std::string out = "before";
  EXPECT_FALSE(regions_.Find("r", 0, 8)->AppendTo(&out).ok());
  EXPECT_EQ(out, "before");
}

TEST_F(ClientRegionsTest, OnlyNamesOfTheFolder) {
  const int memfd = memfd_create("millrace_arena", 0);
  ASSERT_EQ(ftruncate(memfd, 64), 0);
  const std::string of_memfd = absl::StrCat("/proc/", getpid(), "/fd/", memfd);
  ASSERT_EQ(access(of_memfd.c_str(), R_OK | W_OK), 0) << "the memfd can be named, but not here";
  for (const std::string& key :
       {std::string(), std::string("/"), std::string("."), std::string("/.."), std::string("//x"),
        of_memfd, absl::StrCat("..", of_memfd), absl::StrCat("../..", of_memfd),
        std::string("../etc/passwd"), std::string("/a/b"), std::string("a/../b"),
        std::string("x\0y", 3), std::string(256, 'x')}) {
    EXPECT_THAT(Fault(key), HasSubstr("key: must be the name")) << key;
  }
  // What /proc calls a memfd is no name of the folder.
  for (const char* key : {"memfd:millrace_arena", "memfd:millrace_arena (deleted)"}) {
    EXPECT_EQ(Fault(key), "key: there is no such shared memory");
  }
  close(memfd);
}

TEST_F(ClientRegionsTest, NoLinkLeadsElsewhere) {
  const int memfd = memfd_create("millrace_arena", 0);
  ASSERT_EQ(ftruncate(memfd, 64), 0);
  const std::string link = absl::StrCat("/dev/shm/mr_test_link_", getpid());
  ASSERT_EQ(symlink(absl::StrCat("/proc/", getpid(), "/fd/", memfd).c_str(), link.c_str()), 0);
  EXPECT_EQ(Fault(link.substr(8)), "key: it cannot be opened for reading and writing");
  unlink(link.c_str());
  close(memfd);

  SharedMemory memory("12345678");
  ASSERT_EQ(::link(memory.path().c_str(), link.c_str()), 0);
  EXPECT_EQ(Fault(link.substr(8)), "key: it is not a plain shared-memory object");
  EXPECT_EQ(Fault(memory.key()), "key: it is not a plain shared-memory object");
  unlink(link.c_str());
  EXPECT_EQ(Fault(memory.key()), "");
}

TEST_F(ClientRegionsTest, OnlyPlainFiles) {
  const std::string name = absl::StrCat("/mr_test_odd_", getpid());
  const std::string path = "/dev/shm" + name;
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(Fault(name), "key: it is not a plain shared-memory object");
  unlink(path.c_str());
  ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
  EXPECT_EQ(Fault(name), "key: it cannot be opened for reading and writing");
  rmdir(path.c_str());
}

// Also where the server is root, whom the kernel would let read everybody's.
TEST_F(ClientRegionsTest, TheModeHolds) {
  SharedMemory memory("12345678");
  for (const mode_t mode : {0400, 0200, 0066, 0000}) {
    ASSERT_EQ(fchmod(memory.fd(), mode), 0);
    EXPECT_THAT(Fault(memory.key()), HasSubstr("key: it")) << mode;
  }
  if (fchown(memory.fd(), 1, 1) != 0) GTEST_SKIP() << "the rest gives a file away: root may";
  for (const mode_t mode : {0600, 0660, 0664, 0606 & ~S_IWOTH}) {
    ASSERT_EQ(fchmod(memory.fd(), mode), 0);
    EXPECT_THAT(Fault(memory.key()), HasSubstr("key: its mode")) << mode;
  }
  ASSERT_EQ(fchmod(memory.fd(), 0666), 0);
  EXPECT_EQ(Fault(memory.key()), "");
}

TEST_F(ClientRegionsTest, OnlyTheAllowedPrefixes) {
  ClientRegionsOptions options = Allowed();
  options.prefixes = SplitPrefixes("mr_a,,mr_b");
  ASSERT_EQ(options.prefixes.size(), 2u);
  ClientRegions regions(options);
  SharedMemory a("12345678", "mr_a"), b("12345678", "mr_b"), c("12345678", "mr_c");
  EXPECT_TRUE(regions.Register("a", a.key(), 0, 8).ok());
  EXPECT_TRUE(regions.Register("b", b.key().substr(1), 0, 8).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(regions.Register("c", c.key(), 0, 8)));
}

TEST_F(ClientRegionsTest, TheTableIsBoundedAndTellsWhatItHolds) {
  SharedMemory memory("12345678");
  const size_t before = OpenDescriptors();
  for (const char* name : {"d", "b", "c", "a"}) {
    ASSERT_TRUE(regions_.Register(name, memory.key(), 1, 7).ok());
  }
  EXPECT_TRUE(absl::IsResourceExhausted(regions_.Register("e", memory.key(), 0, 8)));
  EXPECT_TRUE(absl::IsAlreadyExists(regions_.Register("a", memory.key(), 0, 8)));
  EXPECT_TRUE(absl::IsInvalidArgument(regions_.Register("", memory.key(), 0, 8)));
  EXPECT_TRUE(absl::IsInvalidArgument(regions_.Register(std::string(257, 'n'), "k", 0, 8)));
  const auto all = *regions_.Status("");
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0]->name(), "a");
  EXPECT_EQ(all[3]->key(), memory.key());
  EXPECT_EQ(all[3]->offset(), 1u);
  EXPECT_EQ(all[3]->bytes(), 7u);
  EXPECT_EQ((*regions_.Status("c")).size(), 1u);
  EXPECT_TRUE(absl::IsNotFound(regions_.Status("e").status()));
  EXPECT_TRUE(absl::IsNotFound(regions_.Unregister("e")));
  EXPECT_EQ(OpenDescriptors(), before + 4);
  EXPECT_TRUE(regions_.Unregister("a").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(regions_.Find("a", 0, 1).status()));
  EXPECT_TRUE(regions_.Unregister("").ok());
  EXPECT_TRUE(regions_.Unregister("").ok());
  EXPECT_TRUE((*regions_.Status("")).empty());
}

TEST_F(ClientRegionsTest, ARegionInUseOutlivesItsEntry) {
  SharedMemory memory("12345678");
  const size_t before = OpenDescriptors();
  ASSERT_TRUE(regions_.Register("r", memory.key(), 0, 8).ok());
  {
    const RegionPlace held = *regions_.Find("r", 0, 4);
    ASSERT_TRUE(regions_.Unregister("r").ok());
    EXPECT_TRUE(absl::IsInvalidArgument(regions_.Find("r", 0, 4).status()));
    // Another file, likely at the same descriptor if that had been closed.
    SharedMemory other("abcdefgh");
    EXPECT_TRUE(held.Write("done").ok());
    EXPECT_EQ(other.Bytes(), "abcdefgh");
  }
  EXPECT_EQ(memory.Bytes(), "done5678");
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(ClientRegionsTest, AnInputIsBoundedBeforeItIsRead) {
  SharedMemory memory(std::string(4096, 'x'));
  ASSERT_TRUE(regions_.Register("r", memory.key(), 0, 4096).ok());
  std::string out;
  size_t taken = 0;
  const auto read = [&](uint64_t bytes) { return regions_.ReadInput("r", 0, bytes, &taken, &out); };
  EXPECT_TRUE(absl::IsResourceExhausted(read(1025)));
  EXPECT_TRUE(read(1000).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(read(25)));
  EXPECT_TRUE(absl::IsResourceExhausted(read(4096)));
  EXPECT_TRUE(read(24).ok());
  EXPECT_EQ(out.size(), 1024u);
}

TEST_F(ClientRegionsTest, OutputsGoWhereTheyWereSent) {
  SharedMemory memory("12345678");
  ASSERT_TRUE(regions_.Register("r", memory.key(), 0, 8).ok());
  const TensorView outputs[] = {{"a", DataType::kInt8, {}, "xx"},
                                {"b", DataType::kInt8, {}, "yyy"}};
  InferAnswer answer;
  answer.outputs = outputs;
  std::vector<TensorView> rest;
  std::vector<OutputPlace> second = {{1, *regions_.Find("r", 4, 4)}};
  ASSERT_TRUE(WriteOutputs(answer, &second, &rest).ok());
  EXPECT_EQ(memory.Bytes(), "1234yyy8");
  EXPECT_EQ(second[0].written, 3u);
  ASSERT_EQ(rest.size(), 2u);
  EXPECT_EQ(rest[0].raw, "xx");
  EXPECT_EQ(rest[1].raw, "");
  std::vector<OutputPlace> small = {{1, *regions_.Find("r", 0, 2)}};
  EXPECT_THAT(std::string(WriteOutputs(answer, &small, &rest).message()),
              HasSubstr("outputs[1] \"b\": shared_memory_byte_size: 2 bytes"));
  std::vector<OutputPlace> third = {{2, *regions_.Find("r", 0, 2)}};
  EXPECT_TRUE(absl::IsInternal(WriteOutputs(answer, &third, &rest)));
}

// One thread uses a region while another takes it away and puts it back, and a client shrinks it.
TEST_F(ClientRegionsTest, LanesAndChangesMeet) {
  SharedMemory memory(std::string(4096, 'x'));
  std::atomic<bool> stop = false;
  std::thread changes([&] {
    for (int i = 0; i < 2000; ++i) {
      EXPECT_TRUE(regions_.Register("r", memory.key(), 0, 1).ok());
      EXPECT_TRUE(regions_.Unregister("r").ok());
    }
    stop = true;
  });
  size_t reads = 0;
  while (!stop) {
    const absl::StatusOr<std::string> bytes = Read("r", 0, 1);
    if (bytes.ok()) {
      EXPECT_EQ(*bytes, "x");
      ++reads;
    } else {
      EXPECT_TRUE(absl::IsInvalidArgument(bytes.status())) << bytes.status();
    }
  }
  changes.join();
  RecordProperty("reads", static_cast<int>(reads));
}

}  // namespace
}  // namespace millrace
