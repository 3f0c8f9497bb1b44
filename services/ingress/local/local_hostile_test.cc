// Clients that keep no rule: each is refused or cut off, and a good one beside it is served.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "ipc/client/millrace_client.h"
#include "services/ingress/local/local_rig.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

class LocalHostileTest : public ::testing::Test {
 protected:
  LocalHostileTest() {
    rig_.Do([](FakeFrontend& frontend, LocalServer&) {
      frontend.set_answerer([](const FakeRequest& request) {
        if (request.inputs.empty()) {
          return FakeAnswer{absl::InvalidArgumentError("inputs: none given"), "", "", {}};
        }
        FakeTensor tensor = request.inputs[0];
        tensor.name = "prediction";
        return FakeAnswer{absl::OkStatus(), request.model, "2", {tensor}};
      });
    });
  }
  // Whatever happened, another client is answered, and nothing of the hostile one is left.
  void ExpectServing() {
    mr_client* client = nullptr;
    mr_model* model = nullptr;
    ASSERT_EQ(mr_connect(rig_.path().c_str(), nullptr, &client), MR_OK) << mr_error(nullptr);
    ASSERT_EQ(mr_open_model(client, "plain", "", &model), MR_OK);
    mr_request* request = nullptr;
    ASSERT_EQ(mr_begin(client, model, 1, nullptr, 0, &request), MR_OK);
    memset(mr_input_data(request, 0, nullptr), 0, 12);
    EXPECT_EQ(mr_infer(client, request, nullptr), MR_OK) << mr_error(client);
    mr_close(client);
    rig_.WaitUntil([](FakeFrontend&, LocalServer& server) {
      return server.clients() == 0 && server.in_flight() == 0 &&
             server.memory_left() == LocalOptions().memory_bytes;
    });
  }
  // The sentence of the refusal, then the end.
  static std::string Refusal(RawClient& raw) {
    const std::string bytes = raw.Next();
    if (bytes.empty()) return "(hung up)";
    PacketReader packet(bytes);
    EXPECT_EQ(packet.type(), PacketType::kRefused);
    packet.U32();
    const std::string sentence(packet.Text());
    EXPECT_EQ(raw.Next(), "") << "the connection stays";
    return sentence;
  }

  LocalRig rig_;
};

TEST_F(LocalHostileTest, AnotherVersionIsToldSo) {
  {
    RawClient raw(rig_.path());
    raw.Hello(kLocalMagic, kLocalVersion + 1);
    EXPECT_THAT(Refusal(raw), HasSubstr("speaks version 2 of the local protocol, this server 1"));
    RawClient other(rig_.path());
    other.Hello(kLocalMagic, kLocalVersion, kLocalLayout + 1);
    EXPECT_THAT(Refusal(other), HasSubstr("another layout"));
    RawClient rubbish(rig_.path());
    rubbish.Hello(1);
    EXPECT_THAT(Refusal(rubbish), HasSubstr("no Hello"));
  }
  ExpectServing();
}

TEST_F(LocalHostileTest, PacketsOutOfOrderOrOfNoTypeEndTheConnection) {
  for (uint32_t type : {3u, 5u, 99u, 0u}) {
    RawClient raw(rig_.path());
    SendPacket(raw.socket.get(), PacketWriter(static_cast<PacketType>(type), 0).bytes());
    EXPECT_EQ(raw.Next(), "") << type;
  }
  for (const char* bytes : {"x", "\1\1\1", "\1\1\1\1\1"}) {
    RawClient raw(rig_.path());
    SendPacket(raw.socket.get(), bytes);
    EXPECT_EQ(raw.Next(), "");
  }
  ExpectServing();
}

TEST_F(LocalHostileTest, RegionsThatAreNotSealedOrNotOursAreRefused) {
  const Fd unsealed(memfd_create("bad", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(unsealed.get(), 1 << 16), 0);
  const Fd file(open("/dev/zero", O_RDWR | O_CLOEXEC));
  // Sealed and without memory behind it: reading would take the server's.
  const Fd hollow(memfd_create("bad", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(hollow.get(), 1 << 16), 0);
  ASSERT_EQ(fcntl(hollow.get(), F_ADD_SEALS,
                  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL),
            0);
  const Region small = Must(Region::Create(kSlotsType, kClientEnd, sizeof(RegionHeader)));
  const Region wrong = Must(Region::Create({RegionKind::kPage, 1}, kClientEnd, 1 << 16));
  for (int place = 0; place < 4; ++place) {
    for (int bad : {unsealed.get(), file.get(), hollow.get(), small.fd().get(), wrong.fd().get()}) {
      RawClient raw(rig_.path());
      raw.MakeRegions();
      std::vector<int> regions = raw.Regions();
      regions[place] = bad;
      raw.HandOver(regions);
      EXPECT_NE(Refusal(raw), "(hung up)") << place;
    }
  }
  RawClient few(rig_.path());
  few.MakeRegions();
  few.HandOver({few.slots.fd().get()});
  EXPECT_THAT(Refusal(few), HasSubstr("four regions"));
  few.socket = Fd();
  ExpectServing();
}

TEST_F(LocalHostileTest, ARegionOverTheBudgetIsRefusedBeforeItIsMapped) {
  RawClient raw(rig_.path());
  raw.MakeRegions();
  const Fd huge(memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(huge.get(), int64_t{1} << 40), 0);
  ASSERT_EQ(fcntl(huge.get(), F_ADD_SEALS,
                  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL),
            0);
  std::vector<int> regions = raw.Regions();
  regions[2] = huge.get();
  raw.HandOver(regions);
  EXPECT_THAT(Refusal(raw), HasSubstr("are left"));
  raw.socket = Fd();
  ExpectServing();
}

TEST_F(LocalHostileTest, AWrongMagicIsRefused) {
  RawClient raw(rig_.path());
  raw.MakeRegions();
  raw.slots.as<RegionHeader>()->magic ^= 1;
  raw.HandOver(raw.Regions());
  EXPECT_THAT(Refusal(raw), HasSubstr("magic"));
  raw.socket = Fd();
  ExpectServing();
}

TEST_F(LocalHostileTest, ABlockOutsideTheArenaCutsTheClientOff) {
  const BlockRef blocks[] = {{0, 64},
                             {1 << 16, 1},
                             {(1 << 16) - 8, 64},
                             {UINT32_MAX, UINT32_MAX},
                             {kLineBytes, UINT32_MAX},
                             {kLineBytes, 0}};
  for (const BlockRef& block : blocks) {
    RawClient raw(rig_.path());
    raw.Connect();
    Message message = raw.Request(1);
    message.block = block;
    raw.Publish(message);
    EXPECT_EQ(raw.Next(), "") << block.offset << " " << block.length;
  }
  ExpectServing();
}

TEST_F(LocalHostileTest, WhatIsBehindAFaultIsNotAsked) {
  RawClient raw(rig_.path());
  raw.Connect();
  Message bad = raw.Request(1);
  bad.block = {UINT32_MAX, UINT32_MAX};
  // While the lane's thread is here, none of them is taken before the others.
  rig_.Do([&](FakeFrontend&, LocalServer&) {
    raw.Publish(bad);
    for (uint64_t id = 2; id < 6; ++id) raw.Publish(raw.Request(id));
  });
  EXPECT_EQ(raw.Next(), "");
  rig_.Do([](FakeFrontend& frontend, LocalServer&) { EXPECT_EQ(frontend.seen().size(), 0u); });
  raw.socket = Fd();
  ExpectServing();
}

TEST_F(LocalHostileTest, AMessageOfNoKindOrAJumpingSequenceCutsTheClientOff) {
  RawClient raw(rig_.path());
  raw.Connect();
  Message message = raw.Request(1);
  message.kind = static_cast<MessageKind>(9);
  raw.Publish(message);
  EXPECT_EQ(raw.Next(), "");
  RawClient jumper(rig_.path());
  jumper.Connect();
  jumper.slots.as<SlotsRegion>()->slots[0].seq.store(77);
  SendWake(jumper.socket.get());
  EXPECT_EQ(jumper.Next(), "");
  raw.socket = Fd();
  jumper.socket = Fd();
  ExpectServing();
}

TEST_F(LocalHostileTest, ABadHandleOrPackGetsASentenceAndTheConnectionStays) {
  RawClient raw(rig_.path());
  raw.Connect();
  Message message = raw.Request(1);
  message.route = 200;
  raw.Publish(message);
  Message shape = raw.Request(2);
  shape.block.offset = 4096;
  PackWriter pack(UINT32_MAX);  // rows that no pack can hold
  pack.Add(0, DataType::kFp32, UINT32_MAX, 64);
  pack.Place(raw.At(4096));
  raw.Publish(shape);
  Message places = raw.Request(3);
  places.block.offset = 8192;
  PackWriter other(1);
  other.Add(900, DataType::kFp32, 3, 12);
  other.Place(raw.At(8192));
  raw.Publish(places);
  raw.Publish(raw.Request(4));
  std::vector<int> codes;
  Message answer;
  rig_.WaitUntil([&](FakeFrontend&, LocalServer&) {
    while (raw.TakeAnswer(&answer)) {
      codes.push_back(answer.kind == MessageKind::kError ? answer.code : 0);
      if (answer.HasBlock()) raw.answers->Return(answer.block.offset);
    }
    return codes.size() == 4;
  });
  EXPECT_EQ(codes, (std::vector<int>{MR_INVALID_ARGUMENT, MR_INVALID_ARGUMENT, MR_INVALID_ARGUMENT,
                                     MR_OK}));
  raw.socket = Fd();
  ExpectServing();
}

// Requests without end and no look at an answer: sentences first, then the end.
TEST_F(LocalHostileTest, AFloodOfRequestsCutsTheClientOff) {
  rig_.Do(
      [](FakeFrontend& frontend, LocalServer&) { frontend.set_mode(FakeFrontend::Mode::kHold); });
  RawClient raw(rig_.path());
  raw.Connect();
  const Message message = raw.Request(1);
  for (uint32_t i = 0; i < raw.slot_count; ++i) raw.Publish(message);
  rig_.WaitUntil([](FakeFrontend& frontend, LocalServer&) { return !frontend.seen().empty(); });
  for (uint32_t i = 0; i < raw.slot_count; ++i) raw.Publish(message);
  EXPECT_EQ(raw.Next(), "");
  rig_.Do([](FakeFrontend& frontend, LocalServer&) {
    EXPECT_LE(frontend.seen().size(), LocalOptions().in_flight);
    frontend.set_mode(FakeFrontend::Mode::kInline);
  });
  raw.socket = Fd();
  ExpectServing();
}

TEST_F(LocalHostileTest, CreditsAndReturnsThatCannotBeCutTheClientOff) {
  for (const bool taken : {true, false}) {
    RawClient raw(rig_.path());
    raw.MakeRegions();
    const Region returns =
        Must(Region::Create(kReturnsType, kClientEnd, ReturnsRegionBytes(raw.slot_count)));
    auto* words = returns.as<ReturnsRegion>();
    words->producer = kServerEnd;
    words->slot_count = raw.slot_count;
    std::vector<int> regions = raw.Regions();
    regions[1] = returns.fd().get();
    raw.HandOver(regions);
    ASSERT_EQ(PacketReader(raw.Next()).type(), PacketType::kReady);
    if (taken) {
      words->taken.store(uint64_t{1} << 40);
    } else {
      words->returns[0].store(uint64_t{1} << 32 | 12345);
    }
    // No model is opened: each request is answered with a sentence, until the server looks.
    bool cut = false;
    Message answer;
    for (uint32_t i = 0; i <= raw.slot_count && !cut; ++i) {
      raw.Publish(raw.Request(i));
      rig_.WaitUntil([&](FakeFrontend&, LocalServer& server) {
        cut = server.clients() == 0;
        return cut || raw.TakeAnswer(&answer);
      });
    }
    EXPECT_TRUE(cut);
  }
  ExpectServing();
}

// A client that opens models without end and never reads: its socket fills, and it is dropped.
TEST_F(LocalHostileTest, AClientThatNeverReadsItsSocketIsDropped) {
  RawClient raw(rig_.path());
  raw.Connect();
  PacketWriter open(PacketType::kOpen, 1);
  open.Text("absent");
  open.Text("");
  rig_.WaitUntil([&](FakeFrontend&, LocalServer& server) {
    for (int i = 0; i < 100; ++i) SendPacket(raw.socket.get(), open.bytes());
    return server.clients() == 0;
  });
  ExpectServing();
}

// The bytes change between the look and the copy: whatever is answered, nothing breaks.
TEST_F(LocalHostileTest, ARegionThatChangesAfterSubmitHarmsNobody) {
  RawClient raw(rig_.path());
  raw.Connect();
  std::atomic<bool> stop{false};
  std::thread scribbler([&] {
    uint32_t noise = 1;
    // relaxed: only asks for the end.
    while (!stop.load(std::memory_order_relaxed)) {
      auto* words = reinterpret_cast<volatile uint32_t*>(raw.At(kLineBytes));
      for (int i = 0; i < 9; ++i) words[i] = (noise = noise * 1664525 + 1013904223);
    }
  });
  size_t answered = 0;
  Message answer;
  for (uint64_t id = 0; id < 500; ++id) {
    raw.Publish(raw.Request(id));
    rig_.WaitUntil([&](FakeFrontend&, LocalServer& server) {
      if (raw.TakeAnswer(&answer)) {
        ++answered;
        if (answer.HasBlock()) raw.answers->Return(answer.block.offset);
        return true;
      }
      return server.clients() == 0;
    });
  }
  stop = true;
  scribbler.join();
  EXPECT_EQ(answered, 500u);
  raw.socket = Fd();
  ExpectServing();
}

}  // namespace
}  // namespace millrace
