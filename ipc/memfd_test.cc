// Regions: what is made, and every check of an opener seen to refuse.
#include "ipc/memfd.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/testing/must.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

constexpr RegionType kType = {RegionKind::kArena, 4711};
constexpr size_t kSize = 3 * 4096;
constexpr int kOwned = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

Region Make() { return Must(Region::Create(kType, 7, kSize)); }

std::string Refusal(int fd, RegionType type = kType, uint32_t incarnation = 7,
                    size_t min_size = kSize) {
  const absl::StatusOr<Region> region = Region::Open(fd, type, incarnation, min_size);
  if (region.ok()) return "none";
  EXPECT_TRUE(absl::IsFailedPrecondition(region.status())) << region.status();
  return std::string(region.status().message());
}

// A memfd as a careless or hostile peer could make it.
Fd MakeFile(size_t size, int seals, bool reserve, const RegionHeader& header) {
  Fd fd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (reserve) {
    EXPECT_EQ(posix_fallocate(fd.get(), 0, size), 0);
  } else {
    EXPECT_EQ(ftruncate(fd.get(), size), 0);
  }
  EXPECT_EQ(pwrite(fd.get(), &header, sizeof header, 0), static_cast<ssize_t>(sizeof header));
  if (seals != 0) {
    EXPECT_EQ(fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  }
  return fd;
}

RegionHeader GoodHeader() {
  RegionHeader header = {};
  header.magic = kRegionMagic;
  header.layout_hash = kType.layout_hash;
  header.size = kSize;
  header.kind = static_cast<uint32_t>(kType.kind);
  header.incarnation = 7;
  return header;
}

TEST(RegionTest, IsReservedSealedAndZeroed) {
  const Region region = Must(Region::Create(kType, 7, kSize - 100));
  EXPECT_EQ(region.size(), kSize);  // whole pages
  EXPECT_EQ(fcntl(region.fd().get(), F_GET_SEALS), kOwned);
  struct stat info;
  ASSERT_EQ(fstat(region.fd().get(), &info), 0);
  EXPECT_EQ(static_cast<size_t>(info.st_size), kSize);
  EXPECT_GE(static_cast<size_t>(info.st_blocks) * 512, kSize);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(fcntl(region.fd().get(), F_GETFD), FD_CLOEXEC);
  for (size_t i = sizeof(RegionHeader); i < kSize; ++i) {
    ASSERT_EQ(region.bytes()[i], std::byte{0}) << i;
  }
  EXPECT_FALSE(Region().valid());
}

// With a pool of huge pages or without one: the region is one like any other.
TEST(RegionTest, HugePagesAreTakenWhereThereAreSome) {
  size_t free_pages = 0;
  std::ifstream("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages") >> free_pages;
  const size_t size = kHugePageBytes + 4096;
  const Region owner = Must(Region::Create(kType, 7, size, {.huge = true}));
  if (free_pages == 0) {
    EXPECT_FALSE(owner.huge());
  } else if (owner.huge()) {  // others may have taken them meanwhile
    EXPECT_EQ(owner.size(), 2 * kHugePageBytes);
  }
  EXPECT_EQ(fcntl(owner.fd().get(), F_GET_SEALS), kOwned);
  owner.bytes()[size - 1] = std::byte{42};
  const Region reader = Must(Region::Open(owner.fd().get(), kType, 7, size));
  EXPECT_EQ(reader.bytes()[size - 1], std::byte{42});
  EXPECT_EQ(reader.size(), owner.size());
  EXPECT_EQ(mmap(nullptr, owner.size(), PROT_READ | PROT_WRITE, MAP_SHARED, owner.fd().get(), 0),
            MAP_FAILED);
}

TEST(RegionTest, APoolThatIsTooSmallIsPassedBy) {
  // More than any pool has and any machine can give: what fails is the ordinary reservation.
  const auto region = Region::Create(kType, 7, size_t{1} << 50, {.huge = true});
  EXPECT_TRUE(absl::IsResourceExhausted(region.status())) << region.status();
}

TEST(RegionTest, AReaderSeesWhatTheOwnerWrites) {
  Region owner = Make();
  const Region reader = Must(Region::Open(owner.fd().get(), kType, 7, kSize));
  EXPECT_NE(owner.bytes(), reader.bytes());
  owner.bytes()[5000] = std::byte{42};
  EXPECT_EQ(reader.bytes()[5000], std::byte{42});
  EXPECT_EQ(reader.incarnation(), 7u);
  EXPECT_EQ(reader.size(), kSize);
}

TEST(RegionTest, TheMemoryOutlivesItsOwner) {
  Region reader;
  {
    Region owner = Make();
    owner.bytes()[100] = std::byte{1};
    reader = Must(Region::Open(owner.fd().get(), kType, 7, kSize));
  }
  EXPECT_EQ(reader.bytes()[100], std::byte{1});
}

TEST(RegionTest, NobodyMapsItWritableAgain) {
  const Region owner = Make();
  const int fd = owner.fd().get();
  EXPECT_EQ(mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  EXPECT_EQ(errno, EPERM);
  void* map = mmap(nullptr, kSize, PROT_READ, MAP_SHARED, fd, 0);
  ASSERT_NE(map, MAP_FAILED);
  EXPECT_EQ(mprotect(map, kSize, PROT_READ | PROT_WRITE), -1);
  munmap(map, kSize);
  // Nor by the file: opened anew, written, cut, grown, unsealed.
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  Fd again(open(path.c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_EQ(mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, again.get(), 0), MAP_FAILED);
  EXPECT_EQ(pwrite(fd, "x", 1, 0), -1);
  EXPECT_EQ(ftruncate(fd, 0), -1);
  EXPECT_EQ(ftruncate(fd, 2 * kSize), -1);
  EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
}

TEST(RegionDeathTest, AWriteThroughTheReadersMappingDies) {
  const Region owner = Make();
  const Region reader = Must(Region::Open(owner.fd().get(), kType, 7, kSize));
  EXPECT_DEATH(reader.bytes()[200] = std::byte{1}, "");
}

TEST(RegionTest, OpenRefusesWhatIsNotAMemfd) {
  const Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_THAT(Refusal(null.get()), HasSubstr("not a sealable memfd"));
  EXPECT_THAT(Refusal(-1), HasSubstr("not a sealable memfd"));
}

TEST(RegionTest, OpenRefusesEachMissingSeal) {
  EXPECT_EQ(Refusal(MakeFile(kSize, kOwned, true, GoodHeader()).get()), "none");
  EXPECT_THAT(Refusal(MakeFile(kSize, 0, true, GoodHeader()).get()), HasSubstr("seals"));
  for (int seal : {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL}) {
    const Fd fd = MakeFile(kSize, kOwned & ~seal, true, GoodHeader());
    EXPECT_THAT(Refusal(fd.get()), HasSubstr("seals are missing")) << seal;
  }
}

TEST(RegionTest, OpenRefusesMemoryThatIsNotReserved) {
  // A touch of the hole would end this process with SIGBUS on a full machine.
  const Fd fd = MakeFile(kSize, kOwned, false, GoodHeader());
  EXPECT_THAT(Refusal(fd.get()), HasSubstr("not reserved"));
}

TEST(RegionTest, OpenRefusesASizeBelowItsType) {
  const Region owner = Make();
  EXPECT_EQ(Refusal(owner.fd().get(), kType, 7, kSize), "none");
  EXPECT_THAT(Refusal(owner.fd().get(), kType, 7, kSize + 1), HasSubstr("smaller than its type"));
}

TEST(RegionTest, OpenRefusesEachWrongWordOfTheHeader) {
  const auto refusal = [](void (*spoil)(RegionHeader*)) {
    RegionHeader header = GoodHeader();
    spoil(&header);
    return Refusal(MakeFile(kSize, kOwned, true, header).get());
  };
  EXPECT_EQ(refusal([](RegionHeader*) {}), "none");
  EXPECT_THAT(refusal([](RegionHeader* h) { h->magic ^= 1; }), HasSubstr("magic"));
  EXPECT_THAT(refusal([](RegionHeader* h) { h->kind = 1; }), HasSubstr("kind"));
  EXPECT_THAT(refusal([](RegionHeader* h) { h->layout_hash ^= 1; }), HasSubstr("layout hash"));
  EXPECT_THAT(refusal([](RegionHeader* h) { h->size += 4096; }), HasSubstr("size"));
  EXPECT_THAT(refusal([](RegionHeader* h) { h->incarnation = 8; }), HasSubstr("incarnation"));
}

TEST(RegionTest, OpenRefusesAnotherTypeOrIncarnation) {
  const Region owner = Make();
  const int fd = owner.fd().get();
  EXPECT_THAT(Refusal(fd, {RegionKind::kPage, 4711}), HasSubstr("kind"));
  EXPECT_THAT(Refusal(fd, {RegionKind::kArena, 4712}), HasSubstr("layout hash"));
  EXPECT_THAT(Refusal(fd, kType, 6), HasSubstr("incarnation"));
}

TEST(RegionTest, CreateRefusesLessThanAHeader) {
  EXPECT_TRUE(absl::IsInvalidArgument(Region::Create(kType, 1, 10).status()));
}

TEST(RegionTest, WithoutADescriptorLeftCreateSaysSo) {
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none = {0, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const absl::Status status = Region::Create(kType, 1, kSize).status();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
}

TEST(LayoutHashTest, EveryNumberAndItsPlaceCount) {
  constexpr uint64_t kHash = LayoutHash({1, 2, 3});
  static_assert(kHash == LayoutHash({1, 2, 3}));
  for (uint64_t other : {LayoutHash({1, 2}), LayoutHash({3, 2, 1}), LayoutHash({1, 2, 4}),
                         LayoutHash({1, 2, 3, 0})}) {
    EXPECT_NE(kHash, other);
  }
}

TEST(ImmutableTest, ACopyIsWholeAndCannotBeChanged) {
  const std::string bytes(10'000, 'm');
  const Fd fd = Must(MakeSealedCopy("copy", bytes.data(), bytes.size()));
  const auto map = Must(MapImmutable(fd.get(), bytes.size()));
  ASSERT_EQ(map.get_size(), bytes.size());
  EXPECT_EQ(memcmp(map.get_address(), bytes.data(), bytes.size()), 0);
  EXPECT_EQ(pwrite(fd.get(), "x", 1, 0), -1);
  EXPECT_EQ(ftruncate(fd.get(), 1), -1);
  EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0), MAP_FAILED);
}

TEST(ImmutableTest, MapRefusesWhatMayStillChange) {
  Fd fd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(pwrite(fd.get(), "abc", 3, 0), 3);
  EXPECT_TRUE(absl::IsFailedPrecondition(MapImmutable(fd.get(), 100).status()));
  ASSERT_EQ(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(MapImmutable(fd.get(), 100).status()));
  ASSERT_TRUE(SealImmutable(fd.get()).ok());
  EXPECT_TRUE(MapImmutable(fd.get(), 100).ok());
  EXPECT_THAT(std::string(MapImmutable(fd.get(), 2).status().message()), HasSubstr("limit"));
  // A region is writable by its owner, so it is not immutable.
  const Region owner = Make();
  EXPECT_FALSE(MapImmutable(owner.fd().get(), kSize).ok());
  EXPECT_FALSE(MapImmutable(-1, kSize).ok());
}

TEST(ImmutableTest, MapRefusesAnEmptyFile) {
  const Fd fd = Must(MakeSealedCopy("empty", "", 0));
  EXPECT_THAT(std::string(MapImmutable(fd.get(), 100).status().message()), HasSubstr("empty"));
}

TEST(ImmutableTest, SealingWhatSomebodyMapsWritableFails) {
  Fd fd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(fd.get(), 4096), 0);
  void* map = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(map, MAP_FAILED);
  EXPECT_FALSE(SealImmutable(fd.get()).ok());
  munmap(map, 4096);
  EXPECT_TRUE(SealImmutable(fd.get()).ok());
}

TEST(FdTest, ClosesOnce) {
  int number;
  {
    Fd fd(memfd_create("test", MFD_CLOEXEC));
    number = fd.get();
    Fd moved = std::move(fd);
    EXPECT_FALSE(fd.valid());
    EXPECT_EQ(moved.get(), number);
    const Fd copy = moved.Duplicate();
    EXPECT_NE(copy.get(), number);
    EXPECT_EQ(fcntl(copy.get(), F_GETFD), FD_CLOEXEC);
  }
  EXPECT_EQ(fcntl(number, F_GETFD), -1);
  EXPECT_FALSE(Fd().Duplicate().valid());
}

}  // namespace
}  // namespace millrace
