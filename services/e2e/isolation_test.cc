// Nothing that one request, task or version does changes another's: a whole server is tried.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "services/e2e/isolation_rig.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::unique_ptr<Tree> Start(const Models& models, const std::string& config = "") {
  Tree::Options options;
  options.repository = "";
  options.config = "repository: " + models.root() + "\nexecution: {workers: 2, device: cpu}\n" +
                   "registry: {load_interval_ms: 0}\n" + config;
  return Tree::Start(options);
}

// Writable in no way, by whoever holds the descriptor `path` leads to.
void ExpectImmutable(const std::string& path) {
  SCOPED_TRACE(path);
  int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    EXPECT_TRUE(errno == EACCES || errno == EPERM) << strerror(errno);
    return;
  }
  const int wanted = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  EXPECT_EQ(fcntl(fd, F_GET_SEALS) & wanted, wanted);
  EXPECT_LT(pwrite(fd, "x", 1, 0), 0);
  EXPECT_LT(ftruncate(fd, 0), 0);
  EXPECT_LT(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
  EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  void* const map = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
  if (map != MAP_FAILED) {
    EXPECT_NE(mprotect(map, 4096, PROT_READ | PROT_WRITE), 0);
    munmap(map, 4096);
  }
  close(fd);
}

TEST(Isolation, WeightsAreOneReadOnlyMemoryOfAllWorkers) {
  const Models models;
  auto tree = Start(models);
  std::map<std::string, std::set<std::string>> plans;  // by process: the inodes that it has mapped
  size_t descriptors = 0;
  std::map<std::string, int> pids = {{"keeper", tree->keeper().pid()},
                                     {"supervisor", tree->SupervisorPid()}};
  for (const std::string& name : tree->ProcessNames()) pids[name] = tree->Process(name)["pid"];
  for (const auto& [name, pid] : pids) {
    const std::string proc = "/proc/" + std::to_string(pid);
    std::ifstream maps(proc + "/maps");
    for (std::string line; std::getline(maps, line);) {
      if (line.find("/memfd:plan") == std::string::npos) continue;
      std::istringstream words(line);
      std::string range, permissions, offset, device, inode;
      words >> range >> permissions >> offset >> device >> inode;
      EXPECT_EQ(permissions.substr(0, 3), "r--") << name << ": " << line;
      plans[name].insert(inode);
    }
    for (const fs::directory_entry& fd : fs::directory_iterator(proc + "/fd")) {
      std::error_code gone;
      const std::string target = fs::read_symlink(fd.path(), gone).string();
      if (gone || target.find("/memfd:plan") == std::string::npos) continue;
      ++descriptors;
      ExpectImmutable(fd.path().string());
    }
  }
  // Five plain models; what a worker has mapped twice would be two copies of the weights.
  EXPECT_EQ(plans["execution0"].size(), 5u);
  EXPECT_EQ(plans["execution0"], plans["execution1"]);
  EXPECT_GE(descriptors, 5u) << "the registry's at least";
  for (const auto& [name, inodes] : plans) {
    for (const std::string& inode : inodes) EXPECT_EQ(plans["execution0"].count(inode), 1u) << name;
  }
  EXPECT_EQ(tree->Stop(), 0);
}

// What clients may send and ought not to. `right`: it is a request all the same.
struct Hostile {
  Binary request;
  bool right = false;
};

std::vector<Hostile> HostileRequests() {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const auto pattern = [](uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
  };
  std::vector<Hostile> all;
  for (const auto& [model, columns] : std::map<std::string, size_t>{
           {"breast_cancer", 30}, {"digits", 64}, {"categories", kCategoricalColumns}}) {
    // Signalling and negative NaNs, the largest and smallest numbers, categories that there are
    // not.
    for (const float value :
         {nan, -nan, pattern(0x7f800001), infinity, -infinity, pattern(0x7f7fffff), -0.0f,
          pattern(1), -1.0f, -1e30f, 3e9f, 2147483648.0f, 1e18f, 0.5f}) {
      all.push_back({{model, Repeated(value, 7 * columns), {7, columns}}, true});
    }
    // As many rows as a batch takes.
    const size_t most = std::min<size_t>(4096, (1 << 18) / columns - 64);
    all.push_back({{model, Repeated(nan, most * columns), {most, columns}}, true});
    const std::string row = Repeated(1.0f, columns);
    all.push_back({{model, row, {1, columns + 1}}});
    all.push_back({{model, row, {2, columns}}});
    all.push_back({{model, row, {0, columns}}});
    all.push_back({{model, row, {-1, columns}}});
    all.push_back({{model, row, {int64_t{1} << 62, columns}}});
    all.push_back({{model, row, {columns}}});
    all.push_back({{model, row, {1, columns, 1}}});
    all.push_back({{model, row, {1, columns}, "INT64"}});
    all.push_back({{model, row, {1, columns}, "BYTES"}});
    all.push_back({{model, row, {1, columns}, "FP32", "no_such_output"}});
    all.push_back({{model, row, {1, columns}, "FP32", "prediction", 1 << 30}});
    all.push_back({{model, row, {1, columns}, "FP32", "prediction", 4}});
    all.push_back({{model, row.substr(1), {1, columns}}});
  }
  return all;
}

TEST(Isolation, HostileRequestsChangeNobodysAnswers) {
  const Models models;
  auto tree = Start(models);
  Victims victims(*tree);
  const std::string address = tree->Address("http");
  const std::vector<Hostile> hostile = HostileRequests();
  // Several at a time, so that they stand in batches with others' and with each other.
  std::vector<std::thread> attackers;
  std::atomic<uint64_t> right{0}, refused{0}, strange{0};
  for (size_t who = 0; who < 3; ++who) {
    attackers.emplace_back([&, who] {
      for (size_t i = 0; i < 2 * hostile.size(); ++i) {
        const Hostile& one = hostile[(i * 7 + who * 31) % hostile.size()];
        HttpCall call = Begin(address, one.request);
        if ((i + who) % 5 == 0) continue;  // the client is gone before it is answered
        const int code = call.Finish().code;
        const bool as_should = one.right ? code == 200 : code >= 400 && code < 500;
        ++(!as_should ? strange : one.right ? right : refused);
        if (!as_should) {
          fprintf(stderr, "%s %s: %d\n", one.request.model.c_str(),
                  one.request.shape.dump().c_str(), code);
        }
      }
    });
  }
  for (std::thread& attacker : attackers) attacker.join();
  EXPECT_GT(right, 30u);
  EXPECT_GT(refused, 30u);
  EXPECT_EQ(strange, 0u);
  victims.Meet(20);
  victims.ExpectUntouched();
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Isolation, LoadsAndFailuresOfOneVersionChangeNothingOfAnothers) {
  const Models models;
  auto tree = Start(models);
  Victims victims(*tree);
  const std::string good = models.Read("randhie_xgb/1/model.json");
  json loop = json::parse(good), wild = loop, far = loop;
  json& tree0 = loop["learner"]["gradient_booster"]["model"]["trees"][0];
  tree0["left_children"][0] = 0;
  wild["learner"]["gradient_booster"]["model"]["trees"][0]["split_indices"][0] = 1 << 30;
  far["learner"]["gradient_booster"]["model"]["trees"][0]["right_children"][0] = 1 << 30;
  const std::map<std::string, std::string> bad = {
      {"half", good.substr(0, good.size() / 2)},
      {"empty", ""},
      {"noise", std::string(100'000, '\xff')},
      {"deep", std::string(1'000'000, '[')},
      {"loop", loop.dump()},
      {"wild feature", wild.dump()},
      {"far child", far.dump()},
      {"another library", models.Read("digits/1/model.txt")},
  };
  models.Write("victim/config.pbtxt", "backend: \"xgboost\"\nmax_batch_size: 64\n");
  const auto change = [&](const char* verb) {
    return tree->Admin({{"verb", verb}, {"model", "victim"}});
  };
  for (const auto& [what, bytes] : bad) {
    models.Write("victim/1/model.json", bytes);
    const json refused = change("load");
    EXPECT_EQ(refused["ok"], false) << what;
    victims.Meet(2);
    // A good one in its place, under other labels each time, is served and goes again.
    models.Write("victim/1/model.json", good);
    EXPECT_EQ(change("load")["ok"], true) << what;
    victims.Meet(2);
    models.Write("victim/1/model.json", bytes);
    EXPECT_EQ(change("load")["ok"], false) << what;
    EXPECT_EQ(change("unload")["ok"], true) << what;
  }
  // One that is damaged where it is served, and the whole repository read again.
  models.Write("randhie_lgbm/1/model.txt", "tree\nversion=v4\nnum_class=1\n");
  const uint64_t before = tree->Status()["catalog"]["live_generation"];
  tree->Admin({{"verb", "reload"}});
  tree->WaitUntil("the repository was read again",
                  [&] { return tree->Status()["catalog"]["live_generation"] > before; });
  victims.Meet(10);
  victims.ExpectUntouched();
  EXPECT_EQ(tree->Stop(), 0);
}

// Inputs full of a pattern, as large as may be; then small requests, whose answers show all their
// bytes.
TEST(Isolation, ARequestsBytesAreInNobodyElsesAnswer) {
  const Models models;
  auto tree = Start(models, "ingress: {max_request_bytes: 262144}\n");
  const std::string address = tree->Address("http");
  constexpr char kSecret[] = "\x5e\xc2\x37\x5e";  // as a float: a number like another
  float secret;
  memcpy(&secret, kSecret, sizeof secret);
  for (int round = 0; round < 30; ++round) {
    for (const auto& [model, columns] :
         std::map<std::string, size_t>{{"breast_cancer", 30}, {"digits", 64}}) {
      const size_t rows = 262144 / 4 / columns - 1;
      const HttpAnswer large =
          Begin(address, {model, Repeated(secret, rows * columns), {rows, columns}}).Finish();
      ASSERT_EQ(large.code, 200) << large.body;
      for (const char* output : {"prediction", "margin", "class"}) {
        const HttpAnswer small =
            Begin(address, {model, Repeated(0.25f, columns), {1, columns}, "FP32", output})
                .Finish();
        ASSERT_EQ(small.code, 200) << small.body;
        EXPECT_EQ(small.body.find(std::string(kSecret, 4)), std::string::npos) << output;
        const size_t at = small.body.find("]}") + 2;
        const bool wide = model == "digits" && output != std::string("class");
        const size_t expected = wide                                                         ? 80
                                : model == "breast_cancer" && output != std::string("class") ? 4
                                                                                             : 8;
        EXPECT_EQ(small.body.size() - at, expected) << output;
      }
      // One that ends in an error says nothing of it either.
      const HttpAnswer wrong =
          Begin(address, {model, Repeated(secret, columns), {1, columns + 1}}).Finish();
      EXPECT_GE(wrong.code, 400);
      EXPECT_EQ(wrong.body.find(std::string(kSecret, 4)), std::string::npos);
      EXPECT_EQ(wrong.body.find(std::to_string(secret).substr(0, 6)), std::string::npos);
    }
  }
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
