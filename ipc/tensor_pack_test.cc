#include "ipc/tensor_pack.h"

#include <string.h>

#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipc/message.h"
#include "ipc/testing/must.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

// Two rows of three floats and a BYTES tensor, in `block` of exactly the pack's size.
std::vector<std::byte> Sample() {
  PackWriter writer(2);
  EXPECT_TRUE(writer.Add(7, DataType::kFp32, 3, 24));
  EXPECT_TRUE(writer.Add(9, DataType::kBytes, 1, 11));
  std::vector<std::byte> block(writer.bytes());
  writer.Place(block.data());
  const float values[] = {1, 2, 3, 4, 5, 6};
  memcpy(writer.Data(0), values, sizeof values);
  memcpy(writer.Data(1), "\3\0\0\0abc\0\0\0\0", 11);
  return block;
}

TensorEntry* EntryOf(std::vector<std::byte>* block, size_t i) {
  return reinterpret_cast<TensorEntry*>(block->data() + sizeof(PackHeader)) + i;
}

std::string Refusal(const std::vector<std::byte>& block) {
  const auto view = PackView::Open(block);
  if (view.ok()) return "none";
  EXPECT_TRUE(absl::IsFailedPrecondition(view.status()));
  return std::string(view.status().message());
}

TEST(TensorPackTest, WhatIsWrittenIsRead) {
  const std::vector<std::byte> block = Sample();
  const PackView view = Must(PackView::Open(block));
  EXPECT_EQ(view.rows(), 2u);
  ASSERT_EQ(view.count(), 2u);
  EXPECT_EQ(view.Find(9), 1u);
  EXPECT_EQ(view.Find(8), 2u);  // none
  const PackTensor floats = view.tensor(0);
  EXPECT_EQ(floats.name, 7);
  EXPECT_EQ(floats.datatype, DataType::kFp32);
  EXPECT_EQ(floats.columns, 3u);
  ASSERT_EQ(floats.data.size(), 24u);
  float last;
  memcpy(&last, floats.data.data() + 20, 4);
  EXPECT_EQ(last, 6.0f);
  EXPECT_EQ(view.tensor(1).data.size(), 11u);
  EXPECT_DEATH((void)view.tensor(2), "no such tensor");
}

TEST(TensorPackTest, EveryTensorIsAligned) {
  PackWriter writer(1);
  for (uint16_t i = 0; i < 20; ++i) writer.Add(i, DataType::kUint8, i, i);
  std::vector<std::byte> block(writer.bytes());
  writer.Place(block.data());
  const PackView view = Must(PackView::Open(block));
  for (size_t i = 0; i < view.count(); ++i) {
    EXPECT_EQ((view.tensor(i).data.data() - block.data()) % (i <= 8 ? 8 : kTensorAlign), 0);
    EXPECT_EQ(view.tensor(i).data.size(), i);
  }
}

TEST(TensorPackTest, ASingleValueFitsAMessage) {
  for (const DataType type : {DataType::kFp32, DataType::kFp64, DataType::kInt64}) {
    PackWriter writer(1);
    writer.Add(0, type, 1, DataTypeSize(type));
    EXPECT_LE(writer.bytes(), kInlineBytes);
  }
}

TEST(TensorPackTest, TheBoundHoldsAndTheWriterStopsAtItsLimits) {
  PackWriter writer(1);
  size_t data = 0;
  for (size_t i = 0; i < kMaxPackTensors; ++i) {
    ASSERT_TRUE(writer.Add(0, DataType::kUint8, 1, 65));
    data += 65;
    ASSERT_LE(writer.bytes(), PackWriter::BytesBound(writer.count(), data));
  }
  EXPECT_FALSE(writer.Add(0, DataType::kUint8, 1, 1));
  EXPECT_EQ(writer.count(), kMaxPackTensors);
  PackWriter large(1);
  EXPECT_FALSE(large.Add(0, DataType::kUint8, 1, size_t{1} << 31));
  EXPECT_FALSE(large.Add(0, DataType::kUint8, 1, SIZE_MAX));
  EXPECT_TRUE(large.Add(0, DataType::kUint8, 1, size_t{1} << 30));
  EXPECT_FALSE(large.Add(0, DataType::kUint8, 1, size_t{1} << 30));
}

TEST(TensorPackTest, AnEmptyPackIsAPack) {
  PackWriter writer(0);
  std::vector<std::byte> block(writer.bytes());
  writer.Place(block.data());
  EXPECT_EQ(Must(PackView::Open(block)).count(), 0u);
}

TEST(TensorPackTest, EachCheckRefuses) {
  EXPECT_EQ(Refusal(Sample()), "none");
  const auto refusal = [](void (*spoil)(PackHeader*, TensorEntry*)) {
    std::vector<std::byte> block = Sample();
    spoil(reinterpret_cast<PackHeader*>(block.data()), EntryOf(&block, 0));
    return Refusal(block);
  };
  EXPECT_THAT(refusal([](PackHeader* h, TensorEntry*) { h->count = kMaxPackTensors + 1; }),
              HasSubstr("too many tensors"));
  EXPECT_THAT(refusal([](PackHeader* h, TensorEntry*) { h->count = 200; }),
              HasSubstr("shorter than its entries"));
  EXPECT_THAT(refusal([](PackHeader*, TensorEntry* e) { e->offset = 1 << 20; }),
              HasSubstr("tensor 0 lies outside"));
  EXPECT_THAT(refusal([](PackHeader*, TensorEntry* e) { e->offset = UINT32_MAX - 63; }),
              HasSubstr("lies outside"));
  EXPECT_THAT(refusal([](PackHeader*, TensorEntry* e) { e->bytes = UINT32_MAX; }),
              HasSubstr("lies outside"));
  EXPECT_THAT(refusal([](PackHeader*, TensorEntry* e) { e->offset += 4; }),
              HasSubstr("not aligned"));
  EXPECT_THAT(refusal([](PackHeader*, TensorEntry* e) { e->datatype = DataType::kInvalid; }),
              HasSubstr("datatype"));
  EXPECT_THAT(refusal([](PackHeader*, TensorEntry* e) { e->datatype = static_cast<DataType>(99); }),
              HasSubstr("datatype"));
  EXPECT_THAT(refusal([](PackHeader*, TensorEntry* e) { e->bytes = 20; }),
              HasSubstr("size unlike its shape"));
  EXPECT_THAT(refusal([](PackHeader*, TensorEntry* e) { e->columns = 4; }),
              HasSubstr("size unlike its shape"));
  // 2 rows times 2^31 columns times 4 bytes would be 0 in 32 bits.
  EXPECT_THAT(refusal([](PackHeader*, TensorEntry* e) { e->columns = 1u << 31, e->bytes = 0; }),
              HasSubstr("too many elements"));
  EXPECT_THAT(refusal([](PackHeader* h, TensorEntry* e) { h->rows = e->columns = UINT32_MAX; }),
              HasSubstr("too many elements"));
}

TEST(TensorPackTest, EveryCutIsRefused) {
  const std::vector<std::byte> block = Sample();
  for (size_t size = 0; size < block.size(); ++size) {
    const std::vector<std::byte> cut(block.begin(), block.begin() + size);
    const auto view = PackView::Open(cut);
    EXPECT_FALSE(view.ok()) << size;
  }
}

// Any bytes: refused, or every tensor lies inside the block (the sanitizers watch the reads).
TEST(TensorPackTest, RandomBytesNeverLeadOutside) {
  std::mt19937 random(6);
  uint64_t opened = 0, sum = 0;
  for (int round = 0; round < 50'000; ++round) {
    std::vector<std::byte> block = Sample();
    for (int n = 1 + random() % 4; n > 0; --n) {
      block[random() % (sizeof(PackHeader) + 2 * sizeof(TensorEntry))] =
          static_cast<std::byte>(random() % 3 == 0 ? random() : random() % 4);
    }
    const auto view = PackView::Open(block);
    if (!view.ok()) continue;
    ++opened;
    for (size_t i = 0; i < view->count(); ++i) {
      const PackTensor tensor = view->tensor(i);
      ASSERT_GE(tensor.data.data(), block.data());
      ASSERT_LE(tensor.data.data() + tensor.data.size(), block.data() + block.size());
      for (std::byte b : tensor.data) sum += static_cast<uint8_t>(b);
    }
  }
  EXPECT_GT(opened, 100u);
  EXPECT_GT(sum, 0u);
}

// The pack is checked by its copy: what the peer changes afterwards is not looked at again.
TEST(TensorPackTest, EntriesAreCopied) {
  std::vector<std::byte> block = Sample();
  const PackView view = Must(PackView::Open(block));
  EntryOf(&block, 0)->bytes = UINT32_MAX;
  EntryOf(&block, 0)->offset = 1 << 30;
  EXPECT_EQ(view.tensor(0).data.size(), 24u);
  EXPECT_LT(view.tensor(0).data.data(), block.data() + block.size());
}

}  // namespace
}  // namespace millrace
