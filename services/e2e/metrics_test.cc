// What the observer shows of a whole server, as a real Prometheus and its promtool take it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/time_edges.h"
#include "services/e2e/http_call.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kDigits[] = "/v2/models/digits/infer";

std::string Scrape(const std::string& address) {
  const HttpAnswer answer = HttpCall(address, "/metrics", "").Finish();
  EXPECT_EQ(answer.code, 200);
  return answer.body;
}

// "name{labels}" to its value.
using Samples = std::map<std::string, double>;

Samples Parse(const std::string& text) {
  Samples samples;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t space = line.rfind(' ');
    if (line.empty() || line[0] == '#' || space == std::string::npos) continue;
    samples[line.substr(0, space)] = atof(line.c_str() + space + 1);
  }
  return samples;
}

// Names of families of type counter or histogram.
std::set<std::string> Growing(const std::string& text) {
  std::set<std::string> names;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string hash, type, name, kind;
    words >> hash >> type >> name >> kind;
    if (type == "TYPE" && kind != "gauge") names.insert(name);
  }
  return names;
}

std::string FamilyOf(const std::string& sample) {
  std::string name = sample.substr(0, sample.find('{'));
  for (const char* suffix : {"_bucket", "_sum", "_count"}) {
    const size_t length = strlen(suffix);
    if (name.size() > length && name.compare(name.size() - length, length, suffix) == 0) {
      return name.substr(0, name.size() - length);
    }
  }
  return name;
}

struct Ran {
  int code = -1;
  std::string said;
};

Ran Shell(const std::string& command) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  MR_CHECK(pipe != nullptr, "a shell for the test");
  Ran ran;
  char buffer[4096];
  size_t bytes;
  while ((bytes = fread(buffer, 1, sizeof buffer, pipe)) > 0) ran.said.append(buffer, bytes);
  const int status = pclose(pipe);
  ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ran;
}

std::string TempFile(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path) << text;
  return path;
}

// A Prometheus that scrapes one address each second.
class Prometheus {
 public:
  explicit Prometheus(const std::string& target)
      : address_("127.0.0.1:" + std::to_string(FreePort())),
        folder_(testing::TempDir() + "/prometheus" + std::to_string(FreePort())),
        child_({"/usr/bin/prometheus",
                "--config.file=" +
                    TempFile("prometheus.yaml",
                             "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
                             "scrape_configs:\n- job_name: millrace\n  static_configs:\n"
                             "  - targets: ['" +
                                 target + "']\n"),
                "--storage.tsdb.path=" + folder_, "--web.listen-address=" + address_,
                "--log.level=warn"},
               /*capture=*/false) {}
  ~Prometheus() {
    child_.Signal(SIGKILL);
    child_.Wait();
    std::filesystem::remove_all(folder_);
  }

  // The result of an instant query; null while Prometheus is not up.
  nlohmann::json Query(const std::string& query) {
    std::string encoded;
    for (const char c : query) {
      char hex[4];
      snprintf(hex, sizeof hex, "%%%02X", static_cast<unsigned char>(c));
      encoded += hex;
    }
    const Ran ran = Shell("curl -s 'http://" + address_ + "/api/v1/query?query=" + encoded + "'");
    const auto reply = nlohmann::json::parse(ran.said, nullptr, false);
    return reply.is_object() && reply.value("status", "") == "success" ? reply["data"]["result"]
                                                                       : nlohmann::json();
  }
  // The one value of a query; -1: there is none.
  double Value(const std::string& query) {
    const nlohmann::json result = Query(query);
    if (!result.is_array() || result.empty()) return -1;
    return atof(result[0]["value"][1].get<std::string>().c_str());
  }

 private:
  const std::string address_, folder_;
  Child child_;
};

std::string DigitsBody(size_t columns) {
  std::string data;
  for (size_t i = 0; i < columns; ++i) data += i == 0 ? "0" : ",0";
  return "{\"inputs\":[{\"name\":\"input\",\"shape\":[1," + std::to_string(columns) +
         "],\"datatype\":\"FP32\",\"data\":[" + data + "]}]}";
}

// Some of everything: features, ensembles, labels, errors.
void SendSome(Tree& tree) {
  for (const char* listener : {"grpc", "http"}) {
    const nlohmann::json report =
        GoldenLoad(tree, "randhie", true, {"--requests=40", "--duration_ms=0"}, listener).Report();
    EXPECT_EQ(report["answered"], 40) << report.dump();
  }
  const std::string http = tree.Address("http");
  EXPECT_EQ(HttpCall(http, kDigits, DigitsBody(64)).Finish().code, 200);
  EXPECT_EQ(HttpCall(http, kDigits, DigitsBody(63)).Finish().code, 400);
  EXPECT_EQ(HttpCall(http, "/v2/models/nobody/infer", DigitsBody(64)).Finish().code, 404);
}

TEST(Metrics, PromtoolFindsNothingWrong) {
  auto tree = Tree::Start({});
  SendSome(*tree);
  const std::string all = Scrape(tree->Address("metrics"));
  // Triton's names are not Prometheus's; theirs must be readable, ours by the convention.
  std::string ours;
  std::istringstream lines(all);
  for (std::string line; std::getline(lines, line);) {
    if (line.find("nv_") == std::string::npos) ours += line + "\n";
  }
  const Ran lint = Shell("promtool check metrics < " + TempFile("ours.txt", ours));
  EXPECT_EQ(lint.code, 0) << lint.said;
  EXPECT_THAT(lint.said, IsEmpty());
  const Ran whole = Shell("promtool check metrics < " + TempFile("all.txt", all));
  EXPECT_NE(whole.code, 1) << whole.said;  // 1: cannot be read; 3: names
  // The check is one that fails: a unit that is no base unit.
  const Ran planted =
      Shell("promtool check metrics < " +
            TempFile("planted.txt", ours + "# HELP millrace_x_ms x\n# TYPE millrace_x_ms gauge\n"
                                           "millrace_x_ms 1\n"));
  EXPECT_EQ(planted.code, 3) << planted.said;
  EXPECT_EQ(tree->Stop(), 0);
}

// Each name that a dashboard or a rule asks for is one that the server shows, or that a rule makes.
TEST(Metrics, DashboardsAndRulesNameWhatIsThere) {
  auto tree = Tree::Start({});
  SendSome(*tree);
  tree->WaitUntil("the supervisor has looked at what others use of the machine", [&] {
    return Scrape(tree->Address("metrics")).find("\nmillrace_foreign_cores ") != std::string::npos;
  });
  std::set<std::string> known;
  for (const auto& [sample, value] : Parse(Scrape(tree->Address("metrics")))) {
    known.insert(sample.substr(0, sample.find('{')));
    known.insert(FamilyOf(sample));
  }
  std::set<std::string> asked;
  const std::regex name("\\b(millrace|nv)_[a-z0-9_]+");
  for (const char* file : {"deploy/prometheus/rules.yaml", "deploy/grafana/millrace.json"}) {
    std::ifstream in(file);
    std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    ASSERT_FALSE(text.empty()) << file;
    // What rules make has a colon in its name; groups are no metrics.
    text = std::regex_replace(text, std::regex("[a-z0-9_]+(:[a-z0-9_]+)+|- name: .*"), "");
    for (auto at = std::sregex_iterator(text.begin(), text.end(), name);
         at != std::sregex_iterator(); ++at) {
      asked.insert(at->str());
    }
  }
  EXPECT_GT(asked.size(), 20u);
  for (const std::string& one : asked) {
    if (one.rfind("nv_gpu", 0) == 0) continue;  // only where there is one
    EXPECT_TRUE(known.count(one) > 0) << one;
  }
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Metrics, APrometheusHasWhatWasSentByCode) {
  constexpr int kSent = 120;
  constexpr int64_t kDelayMs = 26;
  Tree::Options options;
  options.enable_faults = true;
  options.config = "faults:\n  rules:\n  - {stage: features, kind: delay, delay_ms: " +
                   std::to_string(kDelayMs) + ", model: randhie}\n";
  auto tree = Tree::Start(options);
  Prometheus prometheus(tree->Address("metrics"));
  const nlohmann::json report =
      GoldenLoad(*tree, "randhie", true,
                 {"--requests=" + std::to_string(kSent), "--duration_ms=0", "--in_flight=1"})
          .Report();
  ASSERT_EQ(report["answered"], kSent) << report.dump();
  const std::string http = tree->Address("http");
  for (int i = 0; i < 7; ++i) {
    EXPECT_EQ(HttpCall(http, kDigits, DigitsBody(64)).Finish().code, 200);
    EXPECT_EQ(HttpCall(http, kDigits, DigitsBody(3)).Finish().code, 400);
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(HttpCall(http, "/v2/models/nobody/infer", DigitsBody(64)).Finish().code, 404);
  }
  const auto count = [&](const std::string& model, const std::string& code) {
    return prometheus.Value("millrace_ingress_requests_total{model=\"" + model + "\",code=\"" +
                            code + "\"}");
  };
  tree->WaitUntil("Prometheus has the last of them",
                  [&] { return count("_other", "NOT_FOUND") == 3; });
  EXPECT_EQ(count("randhie", "OK"), kSent);
  EXPECT_EQ(count("digits", "OK"), 7);
  EXPECT_EQ(count("digits", "INVALID_ARGUMENT"), 7);
  EXPECT_EQ(prometheus.Value("sum(millrace_ingress_requests_total)"), kSent + 7 + 7 + 3);
  EXPECT_EQ(prometheus.Value("nv_inference_request_success{model=\"randhie\"}"), kSent);
  EXPECT_EQ(prometheus.Value("sum(nv_inference_request_failure{model=\"digits\"})"), 7);
  EXPECT_EQ(prometheus.Value("millrace_ingress_slo_requests_total{model=\"digits\"}"), 7);
  EXPECT_EQ(prometheus.Value("millrace_ingress_request_seconds_count{model=\"randhie\"}"), kSent);
  // Quantiles: the client's number lies in the bucket, or the one above (it has the network, too).
  for (const auto& [quantile, name] : {std::pair("0.5", "p50_us"), {"0.99", "p99_us"}}) {
    const double server =
        prometheus.Value("histogram_quantile(" + std::string(quantile) +
                         ", millrace_ingress_request_seconds_bucket{model=\"randhie\"})");
    const double client = report[name].get<double>() * 1e-6;
    const auto bucket = static_cast<double>(TimeBucket(static_cast<uint64_t>(server * 1e9)));
    const auto asked = static_cast<double>(TimeBucket(static_cast<uint64_t>(client * 1e9)));
    EXPECT_GE(server, kDelayMs * 1e-3 * 0.75) << report.dump();
    EXPECT_NEAR(bucket, asked, 1) << quantile << ": " << server << " and " << client;
  }
  EXPECT_EQ(tree->Stop(), 0);
}

TEST(Metrics, CountersDoNotGoBackAcrossTwentyKills) {
  Tree::Options options;
  options.metrics = "127.0.0.1:" + std::to_string(FreePort());
  auto tree = Tree::Start(options);
  Prometheus prometheus(options.metrics);
  GoldenLoad load(*tree, "randhie", true,
                  {"--in_flight=8", "--duration_ms=0", "--retries=50", "--deadline_ms=60000"},
                  "grpc");
  Samples last;
  uint64_t seen = 0;
  const auto look = [&](const std::string& when) {
    const std::string text = Scrape(options.metrics);
    const std::set<std::string> growing = Growing(text);
    const Samples now = Parse(text);
    for (const auto& [sample, value] : last) {
      if (growing.count(FamilyOf(sample)) == 0) continue;
      // Of one process, by its incarnation: it ends with it.
      if (sample.find("incarnation=") != std::string::npos) continue;
      const auto found = now.find(sample);
      ASSERT_TRUE(found != now.end()) << sample << " is gone after " << when;
      EXPECT_GE(found->second, value) << sample << " went back after " << when;
      ++seen;
    }
    last = now;
  };
  const std::string ok =
      "millrace_ingress_requests_total{model=\"randhie\",version=\"1\",code=\"OK\"}";
  tree->WaitUntil("the load runs", [&] {
    look("nothing");
    return last[ok] > 500;
  });
  const char* const victims[] = {"execution0", "features0", "observer0", "aggregation0",
                                 "ingress0"};
  for (int i = 0; i < 20; ++i) {
    const std::string victim = victims[i % std::size(victims)];
    tree->Hurt(victim, SIGKILL);
    look(victim);
    if (i == 12) {
      tree->KillSupervisor();
      look("the supervisor");
    }
  }
  const nlohmann::json report = load.End();
  EXPECT_EQ(report["failed"], 0) << report.dump();
  EXPECT_GT(seen, 5'000u);
  EXPECT_EQ(last["millrace_worker_ends_total{stage=\"execution\",worker=\"execution0\"}"], 4);
  // Every answer that a client had was counted; one that was lost with ingress may be, too.
  look("the end");
  EXPECT_GE(last[ok], report["answered"].get<double>());
  const double total = last[ok];
  tree->WaitUntil("Prometheus has the last of them", [&] {
    return prometheus.Value(
               "sum(millrace_ingress_requests_total{model=\"randhie\",code=\"OK\"})") >= total;
  });
  EXPECT_EQ(prometheus.Value("max(resets(millrace_ingress_requests_total[10m]))"), 0);
  EXPECT_EQ(prometheus.Value("max(resets(millrace_ingress_request_seconds_bucket[10m]))"), 0);
  EXPECT_EQ(prometheus.Value("max(resets(millrace_lane_taken_total[10m]))"), 0);
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
