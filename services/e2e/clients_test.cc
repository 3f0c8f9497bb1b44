// Many clients, and bad ones, on a whole server: what it counts, and that the others are served.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "services/e2e/raw_client.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

nlohmann::json Statistics(Tree& tree, const std::string& model) {
  const std::string body = HttpGet(tree.Address("http"), "/v2/models/" + model + "/stats");
  const nlohmann::json answer = nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  EXPECT_EQ(answer["model_stats"].size(), 1u) << body;
  return answer["model_stats"][0];
}

void Golden(Tree& tree, const std::string& model, const std::string& listener, int requests,
            int rows) {
  const nlohmann::json report =
      GoldenLoad(tree, model, false,
                 {"--requests=" + std::to_string(requests), "--duration_ms=0", "--in_flight=8",
                  "--rows_per_request=" + std::to_string(rows)},
                 listener)
          .Report();
  EXPECT_EQ(report["answered"], requests) << listener << report.dump();
}

// Without what is shared: arenas come in page by page while a process lives.
int64_t PrivateBytes(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
  int64_t size = 0, resident = 0, shared = 0;
  file >> size >> resident >> shared;
  return (resident - shared) * sysconf(_SC_PAGESIZE);
}

// Exact after known traffic over every protocol: nothing is counted twice, or not at all.
TEST(Clients, StatisticsCountWhatWasAsked) {
  auto tree = Tree::Start({});
  Golden(*tree, "breast_cancer", "grpc", 150, 1);
  Golden(*tree, "breast_cancer", "http", 70, 5);
  Golden(*tree, "breast_cancer", "local", 40, 8);
  Golden(*tree, "randhie", "grpc", 30, 2);
  // Refused by the model's signature.
  for (int i = 0; i < 3; ++i) {
    const std::string answer =
        HttpPost(tree->Address("http"), "/v2/models/breast_cancer/infer",
                 R"({"inputs":[{"name":"input","shape":[1,2],"datatype":"FP32","data":[1,2]}]})");
    EXPECT_EQ(answer.find("HTTP/1.1 400 "), 0u) << answer;
  }
  const nlohmann::json one = Statistics(*tree, "breast_cancer");
  const nlohmann::json& times = one["inference_stats"];
  EXPECT_EQ(one["inference_count"], 150 + 70 * 5 + 40 * 8) << one.dump();
  EXPECT_EQ(times["success"]["count"], 150 + 70 + 40) << one.dump();
  EXPECT_EQ(times["fail"]["count"], 3) << one.dump();
  for (const char* part : {"queue", "compute_input", "compute_infer", "compute_output"}) {
    EXPECT_EQ(times[part]["count"], 150 + 70 + 40) << part << one.dump();
    EXPECT_GT(times[part]["ns"], 0) << part << one.dump();
    EXPECT_LE(times[part]["ns"], times["success"]["ns"]) << part << one.dump();
  }
  EXPECT_GT(one["last_inference"], 0);
  int64_t rows = 0, batches = 0;
  for (const auto& batch : one["batch_stats"]) {
    const int64_t count = batch["compute_infer"]["count"];
    rows += batch["batch_size"].get<int64_t>() * count;
    batches += count;
  }
  EXPECT_EQ(rows, one["inference_count"]) << one.dump();
  EXPECT_EQ(batches, one["execution_count"]) << one.dump();
  EXPECT_LE(batches, 150 + 70 + 40);
  // An ensemble counts for itself; its members only what was asked of them.
  EXPECT_EQ(Statistics(*tree, "randhie")["inference_count"], 60);
  EXPECT_EQ(Statistics(*tree, "randhie_xgb")["inference_count"], 0);
  EXPECT_EQ(tree->Stop(), 0);
}

// More connections than there are descriptors: they wait in the backlog, those that are there are
// served, and the first that leaves makes room.
TEST(Clients, MoreConnectionsThanDescriptorsWait) {
  auto tree = Tree::Start({});
  const int pid = tree->Process("ingress0")["pid"];
  const auto answered = [&] { return tree->Process("ingress0")["counters"].value("answered", 0); };
  GoldenLoad grpc(*tree, "randhie", true, {"--in_flight=4", "--duration_ms=0"}, "grpc");
  GoldenLoad http(*tree, "randhie", true, {"--in_flight=4", "--duration_ms=0"}, "http");
  tree->WaitUntil("the load runs", [&] { return answered() > 100; });
  rlimit before = {};
  ASSERT_EQ(prlimit(pid, RLIMIT_NOFILE, nullptr, &before), 0);
  rlimit tight = before;
  tight.rlim_cur = OpenDescriptors(pid) + 20;
  ASSERT_EQ(prlimit(pid, RLIMIT_NOFILE, &tight, nullptr), 0);
  std::vector<int> idle;
  for (int i = 0; i < 50; ++i) {
    for (const char* listener : {"grpc", "http"})
      idle.push_back(ConnectTo(tree->Address(listener)));
  }
  tree->WaitUntil("there is no descriptor left",
                  [&] { return OpenDescriptors(pid) + 1 >= tight.rlim_cur; });
  const int64_t then = answered();
  tree->WaitUntil("the others are served", [&] { return answered() > then + 1000; });
  for (const int fd : idle) close(fd);
  for (const char* listener : {"grpc", "http"}) Golden(*tree, "breast_cancer", listener, 50, 1);
  ASSERT_EQ(prlimit(pid, RLIMIT_NOFILE, &before, nullptr), 0);
  for (GoldenLoad* load : {&grpc, &http}) {
    const nlohmann::json report = load->End();
    EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
    EXPECT_EQ(report["mismatched"], 0) << report.dump();
  }
  EXPECT_EQ(tree->Process("ingress0")["pid"], pid) << "ingress is the one it was";
  EXPECT_EQ(tree->Stop(), 0);
}

// Calls that are begun and reset as fast as a socket takes them: memory stays, others are served.
TEST(Clients, RapidResetsCostTheOthersNothing) {
  auto tree = Tree::Start({});
  const int pid = tree->Process("ingress0")["pid"];
  GoldenLoad load(*tree, "randhie", true, {"--in_flight=4", "--duration_ms=0"}, "grpc");
  // More at once would hold up the lane for longer than a hang is allowed to last (CAVEATS.md).
  constexpr int kRounds = 20, kStreams = 2'000;
  int64_t half_way = 0;  // what the allocator keeps of one round's streams is there by then
  for (int round = 0; round < kRounds; ++round) {
    const int fd = ConnectTo(tree->Address("grpc"));
    std::string out = Http2Preface();
    bool open = true;
    for (uint32_t i = 0; open && i < kStreams; ++i) {
      const uint32_t stream = 2 * i + 1;
      out += Http2CallHeader(stream, "/inference.GRPCInferenceService/ModelInfer");
      out += Http2Reset(stream);
      if (out.size() < 16'384 && i + 1 < kStreams) continue;
      // The server may end such a connection at any time.
      open = send(fd, out.data(), out.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(out.size());
      out.clear();
      char unread[16'384];
      while (recv(fd, unread, sizeof unread, MSG_DONTWAIT) > 0) {
      }
    }
    close(fd);
    Golden(*tree, "breast_cancer", "grpc", 20, 1);
    if (round < kRounds / 2) half_way = std::max(half_way, PrivateBytes(pid));
  }
  constexpr int64_t kMegabyte = 1 << 20;
  EXPECT_LT(PrivateBytes(pid) - half_way, 32 * kMegabyte);
  Golden(*tree, "breast_cancer", "grpc", 100, 1);
  const nlohmann::json report = load.End();
  EXPECT_GT(report["answered"], 0);
  EXPECT_EQ(report["answered"], report["sent"]) << report.dump();
  tree->WaitUntil("nothing is left in flight", [&] {
    return tree->Process("ingress0")["counters"].value("in_flight", int64_t{-1}) == 0;
  });
  EXPECT_EQ(tree->Process("ingress0")["pid"], pid);
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
