#include "common/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "common/config_schema.h"

namespace millrace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

std::vector<std::string> Faults(std::string_view yaml) {
  return FormatFaults("f.yaml", ParseConfig(yaml).faults);
}

// The text of a file that sets one field.
std::string Setting(const ConfigField& field, const std::string& value) {
  const std::string line = std::string(field.name) + ": " + value + "\n";
  return field.section.empty() ? line : std::string(field.section) + ":\n  " + line;
}

TEST(ConfigSchema, NamesEveryMemberOnceAndEverySectionInOnePlace) {
  std::set<std::string> names;
  std::set<std::string_view> sections;
  std::set<const void*> members;
  const Config config;
  size_t bytes = 0;
  std::string_view last = "none yet";
  for (const ConfigField& field : ConfigSchema()) {
    EXPECT_TRUE(names.insert(field.FullName()).second) << field.FullName();
    EXPECT_FALSE(field.sentence.empty()) << field.FullName();
    EXPECT_FALSE(ConfigSectionSentence(field.section).empty()) << field.FullName();
    if (field.section != last) {
      EXPECT_TRUE(sections.insert(field.section).second) << field.section;
      last = field.section;
    }
    const void* member =
        field.IsInteger()
            ? static_cast<const void*>(&(config.*std::get<int64_t Config::*>(field.member)))
            : &(config.*std::get<std::string Config::*>(field.member));
    EXPECT_TRUE(members.insert(member).second) << field.FullName();
    bytes += field.IsInteger() ? sizeof(int64_t) : sizeof(std::string);
  }
  EXPECT_EQ(bytes, sizeof(Config)) << "a member of Config stands in no row of the schema";
}

TEST(ConfigSchema, DefaultsAreWithinBounds) {
  const Config config;
  for (const ConfigField& field : ConfigSchema()) {
    if (field.IsInteger()) {
      const int64_t value = config.*std::get<int64_t Config::*>(field.member);
      EXPECT_GE(value, field.min) << field.FullName();
      EXPECT_LE(value, field.max) << field.FullName();
    } else {
      EXPECT_EQ(TextFault(field, config.*std::get<std::string Config::*>(field.member)), "");
      EXPECT_EQ(field.choices.empty(), field.rule != TextRule::kChoice) << field.FullName();
    }
  }
}

TEST(ParseConfig, NothingGivesTheDefaults) {
  for (std::string_view yaml : {"", "\n", "# only a comment\n", "---\n", "ingress:\n"}) {
    const ConfigResult result = ParseConfig(yaml);
    EXPECT_THAT(result.faults, IsEmpty()) << yaml;
    EXPECT_EQ(result.config.grpc_listen, "127.0.0.1:8001");
    EXPECT_EQ(result.config.max_in_flight, 256);
  }
}

TEST(ParseConfig, ReadsFieldsOfAllKinds) {
  const ConfigResult result = ParseConfig(
      "repository: /srv/models\n"
      "ingress:\n  grpc_listen: unix:/run/m.sock\n  http_listen: ''\n  workers: 2\n"
      "execution: {workers: 8, max_batch_rows: 16, cpus: 2, device: cuda, fast_sums: true}\n"
      "features: {cpus: '0-1,4'}\n"
      "supervisor:\n  admin_socket: /tmp/a\n  drain_ms: 0\n  wait: park\n");
  EXPECT_THAT(FormatFaults("f", result.faults), IsEmpty());
  EXPECT_EQ(result.config.repository, "/srv/models");
  EXPECT_EQ(result.config.grpc_listen, "unix:/run/m.sock");
  EXPECT_EQ(result.config.http_listen, "");
  EXPECT_EQ(result.config.ingress_workers, 2);
  EXPECT_EQ(result.config.execution_workers, 8);
  EXPECT_EQ(result.config.max_batch_rows, 16);
  EXPECT_EQ(result.config.admin_socket, "/tmp/a");
  EXPECT_EQ(result.config.drain_ms, 0);
  EXPECT_EQ(result.config.execution_cpus, "2");
  EXPECT_EQ(result.config.features_cpus, "0-1,4");
  EXPECT_EQ(result.config.ingress_cpus, "");
  EXPECT_EQ(result.config.wait, "park");
  EXPECT_EQ(result.config.device, "cuda");
  EXPECT_EQ(result.config.fast_sums, "true");
}

// Each row of the schema: both ends of its bounds pass, one past them is a fault at its line.
TEST(ParseConfig, HoldsEveryFieldToItsBounds) {
  for (const ConfigField& field : ConfigSchema()) {
    if (!field.IsInteger()) continue;
    const std::string start = field.FullName() + ": must be from ";
    const int line = field.section.empty() ? 1 : 2;
    for (int64_t value : {field.min - 1, field.max + 1}) {
      const std::vector<std::string> faults = Faults(Setting(field, std::to_string(value)));
      ASSERT_EQ(faults.size(), 1u) << field.FullName();
      EXPECT_THAT(faults[0], StartsWith("f.yaml:" + std::to_string(line) + ": " + start));
    }
    for (int64_t value : {field.min, field.max}) {
      for (const std::string& fault : Faults(Setting(field, std::to_string(value)))) {
        EXPECT_THAT(fault, testing::Not(HasSubstr("must be from"))) << field.FullName();
      }
    }
    for (const char* text : {"", "x", "1.5", "1e3", "[1]", "{a: 1}", "99999999999999999999"}) {
      EXPECT_EQ(Faults(Setting(field, text)).size(), 1u) << field.FullName() << " " << text;
    }
  }
}

TEST(ParseConfig, ChecksTextsByTheirRule) {
  EXPECT_THAT(Faults("features:\n  cpus: 3-1\nexecution:\n  cpus: [0, 1]\n"
                     "  device: gpu\n  fast_sums: yes\nsupervisor:\n  wait: sleep\n"
                     "ingress:\n  client_shm_prefix: /dev/shm/x\n"),
              ElementsAre("f.yaml:2: features.cpus: a range of CPUs goes upwards",
                          "f.yaml:4: execution.cpus: must be a single value",
                          "f.yaml:5: execution.device: must be auto, cpu or cuda",
                          "f.yaml:6: execution.fast_sums: must be false or true",
                          "f.yaml:8: supervisor.wait: must be auto, spin, yield or park",
                          "f.yaml:10: ingress.client_shm_prefix: may not hold a /"));
}

TEST(ParseConfig, TellsEveryFaultAtOnceInTheOrderOfTheLines) {
  EXPECT_THAT(
      Faults("repository: ''\n"
             "ingress:\n"
             "  grpc_listen: nowhere\n"
             "  worker: 1\n"
             "featurs: {workers: 1}\n"
             "execution: 3\n"
             "repository: b\n"
             "aggregation: {workers: two}\n"),
      ElementsAre("f.yaml:1: repository: may not be empty",
                  "f.yaml:3: ingress.grpc_listen: must be host:port or unix:/path",
                  StartsWith("f.yaml:4: ingress.worker: is not a field; ingress has grpc"),
                  "f.yaml:5: featurs: is neither a field nor a section; the file has "
                  "repository, ingress, features, execution, aggregation, memory, registry, "
                  "supervisor, observer, tracing, faults",
                  "f.yaml:6: execution: must be a map of names to values",
                  "f.yaml:7: repository: stands twice",
                  "f.yaml:8: aggregation.workers: must be an integer"));
}

TEST(ParseConfig, SendsTracesToThisMachineOrAPrivateNetwork) {
  EXPECT_THAT(Faults("tracing: {otlp_endpoint: 'http://127.0.0.1:4318'}\n"), IsEmpty());
  EXPECT_THAT(Faults("tracing: {otlp_endpoint: 'grpc://collector:4317', sample_ppm: 0}\n"),
              IsEmpty());
  EXPECT_THAT(Faults("tracing:\n  otlp_endpoint: http://8.8.8.8\n"),
              ElementsAre("f.yaml:2: tracing.otlp_endpoint: must be on this machine or in a "
                          "private network"));
}

TEST(ParseConfig, HoldsTheObserverToThisMachineAndToAnEdge) {
  EXPECT_THAT(Faults("observer: {metrics: '', slo_ms: 250}\n"), IsEmpty());
  EXPECT_THAT(Faults("observer: {metrics: 'unix:/run/m'}\n"), IsEmpty());
  EXPECT_THAT(
      Faults("observer:\n  metrics: 0.0.0.0:8002\n  slo_ms: 110\n"),
      ElementsAre("f.yaml:2: observer.metrics: must be an address of this machine only, or a "
                  "Unix socket",
                  "f.yaml:3: observer.slo_ms: must be 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6 or 8 "
                  "times a power of ten"));
}

TEST(ParseConfig, ChecksFieldsAgainstEachOther) {
  EXPECT_THAT(Faults("ingress: {default_deadline_ms: 70000}\n"),
              ElementsAre("f.yaml:1: ingress.default_deadline_ms: must be at most "
                          "ingress.max_deadline_ms"));
  EXPECT_THAT(Faults("\nsupervisor: {hang_ms: 10000}\n"),
              ElementsAre("f.yaml:2: ingress.default_deadline_ms: must be more than "
                          "supervisor.hang_ms"));
  EXPECT_THAT(Faults("ingress:\n  http_listen: localhost:1\n  grpc_listen: localhost:1\n"),
              ElementsAre("f.yaml:3: ingress.grpc_listen: must not be the address of "
                          "ingress.http_listen"));
  EXPECT_THAT(Faults("ingress:\n  workers: 2\n  allow_client_shm: true\n"),
              ElementsAre(StartsWith("f.yaml:3: ingress.allow_client_shm: must be false where "
                                     "ingress.workers is more than 1: ")));
  EXPECT_THAT(Faults("ingress:\n  tls_key: k\n"),
              ElementsAre("f.yaml:2: ingress.tls_certificate: is of use only together with "
                          "ingress.tls_key"));
  EXPECT_THAT(Faults("ingress:\n  tls_certificate: c\n  tls_client_ca: a\n"),
              ElementsAre("f.yaml:2: ingress.tls_certificate: is of use only together with "
                          "ingress.tls_key"));
  EXPECT_THAT(Faults("ingress:\n  tls_client_ca: a\n"),
              ElementsAre("f.yaml:2: ingress.tls_client_ca: is of use only together with "
                          "ingress.tls_certificate and ingress.tls_key"));
  EXPECT_THAT(Faults("execution: {max_workers: 2, min_workers: 3}\n"),
              ElementsAre("f.yaml:1: execution.min_workers: must be at most "
                          "execution.max_workers"));
  EXPECT_THAT(Faults("features: {max_workers: 2,\n workers: 3}\n"),
              ElementsAre("f.yaml:2: features.workers: must lie within features.min_workers and "
                          "features.max_workers"));
  EXPECT_THAT(Faults("execution: {workers: 3, min_workers: 2, max_workers: 3}\n"), IsEmpty());
  EXPECT_THAT(Faults("execution: {workers: 8}\n"), IsEmpty());
  EXPECT_THAT(Faults("ingress:\n  workers: 3\n"),
              ElementsAre("f.yaml:2: ingress.workers: must be at most ingress.max_workers"));
  EXPECT_THAT(
      Faults("ingress: {max_workers: 4,\n max_request_bytes: 33554433}\n"),
      ElementsAre("f.yaml:1: ingress.max_workers: times ingress.max_request_bytes must be at "
                  "most 134217728 (128 MiB)"));
  EXPECT_THAT(Faults("ingress: {workers: 4, max_workers: 4, max_request_bytes: 33554432}\n"),
              IsEmpty());
  EXPECT_THAT(Faults("ingress: {max_request_bytes: 67108864}\n"), IsEmpty());
  EXPECT_THAT(Faults("ingress: {tls_certificate: c, tls_key: k, tls_client_ca: a}\n"), IsEmpty());
  EXPECT_THAT(Faults("ingress: {workers: 2, client_shm_prefix: a_}\n"), IsEmpty());
  EXPECT_THAT(Faults("ingress: {allow_client_shm: true, client_shm_prefix: 'a_,b_'}\n"), IsEmpty());
  EXPECT_THAT(Faults("ingress: {http_listen: '[::1]:0', grpc_listen: '[::1]:0'}\n"), IsEmpty());
  EXPECT_THAT(Faults("ingress: {http_listen: '', grpc_listen: ''}\n"), IsEmpty());
}

TEST(ParseConfig, WithoutKeysOnlyThisMachineMayBeServed) {
  const auto ingress = [](const std::string& fields) {
    return Faults("ingress: {" + fields + "}");
  };
  for (const char* open :
       {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "host:1", "127.host:1", "127.1:1"}) {
    const std::string listen = "http_listen: '" + std::string(open) + "'";
    EXPECT_THAT(ingress(listen), ElementsAre(StartsWith("f.yaml:1: ingress.http_listen: can be "
                                                        "reached from other machines: ")))
        << open;
    EXPECT_EQ(ingress("grpc_listen: '" + std::string(open) + "'").size(), 1u) << open;
    EXPECT_THAT(ingress(listen + ", keys_file: /k"), IsEmpty()) << open;
    EXPECT_THAT(ingress(listen + ", allow_anonymous: true"), IsEmpty()) << open;
  }
  for (const char* local :
       {"127.0.0.1:1", "127.9.9.9:1", "localhost:1", "[::1]:1", "unix:/s", ""}) {
    EXPECT_THAT(ingress("http_listen: '" + std::string(local) + "'"), IsEmpty()) << local;
  }
  EXPECT_THAT(ingress("keys_file: /k, allow_anonymous: true"),
              ElementsAre("f.yaml:1: ingress.allow_anonymous: must be false where "
                          "ingress.keys_file is set"));
}

TEST(ParseConfig, ABudgetOfMemoryAndWhatMakesRoom) {
  EXPECT_THAT(Faults("execution: {memory_budget_mb: 64, device_budget_mb: 8}"), IsEmpty());
  EXPECT_THAT(Faults("execution: {memory_budget_mb: 64, over_budget: evict_idle}"), IsEmpty());
  EXPECT_THAT(Faults("execution: {over_budget: evict_idle}"),
              ElementsAre("f.yaml:1: execution.over_budget: evict_idle is of use only with "
                          "execution.memory_budget_mb above 0"));
  EXPECT_THAT(Faults("execution: {over_budget: evict}"),
              ElementsAre(StartsWith("f.yaml:1: execution.over_budget: must be ")));
  EXPECT_THAT(Faults("execution: {memory_budget_mb: -1}"),
              ElementsAre(HasSubstr("must be from 0 to 1048576, and is -1")));
}

TEST(ParseConfig, ManifestsKeysAndWhatIsTaken) {
  const std::string key(64, 'a');
  EXPECT_THAT(Faults("registry: {trusted_keys: '" + key + "," + key + "', allow_unsigned: false}"),
              IsEmpty());
  EXPECT_THAT(Faults("registry: {trusted_keys: '" + key + ",b'}"),
              ElementsAre(StartsWith("f.yaml:1: registry.trusted_keys: must be keys of 64 ")));
  EXPECT_THAT(Faults("registry: {allow_unsigned: false}"),
              ElementsAre("f.yaml:1: registry.allow_unsigned: may be false only where "
                          "registry.trusted_keys names a key"));
  EXPECT_THAT(Faults("registry: {manifest: off, strict: true}"),
              ElementsAre("f.yaml:1: registry.manifest: may not be off where registry.strict is "
                          "true"));
  EXPECT_THAT(Faults("registry: {manifest: off, allow_unsigned: false, trusted_keys: " + key + "}"),
              ElementsAre(HasSubstr("may not be off where registry.allow_unsigned is false")));
  EXPECT_EQ(Faults("registry: {manifest: maybe}").size(), 1u);
}

TEST(ParseConfig, WhatIsNotOneMapOfYamlIsAFaultWithItsLine) {
  EXPECT_THAT(Faults("ingress:\n  workers: [1\n"), ElementsAre(StartsWith("f.yaml:")));
  EXPECT_THAT(Faults("- a\n- b\n"), ElementsAre("f.yaml:1: must be a map of names to values"));
  EXPECT_THAT(Faults("a: 1\n---\nb: 1\n"),
              ElementsAre("f.yaml:3: the file holds more than one YAML document"));
  EXPECT_THAT(Faults("[a, b]: 1\n"), ElementsAre("f.yaml:1: has a key that is not a name"));
  EXPECT_THAT(Faults("repository: *nothing\n"), ElementsAre(StartsWith("f.yaml:1: ")));
  EXPECT_THAT(Faults(std::string("a: \0b", 5)), ElementsAre(HasSubstr("zero byte")));
  EXPECT_THAT(Faults(std::string((1 << 20) + 1, ' ')), ElementsAre(HasSubstr("larger than")));
  EXPECT_FALSE(Faults(std::string(100'000, '[')).empty());
}

TEST(ListenFault, KnowsTheForms) {
  for (std::string_view good : {"", "127.0.0.1:0", "localhost:65535", "[::1]:80", "unix:/a/b"}) {
    EXPECT_EQ(ListenFault(good), "") << good;
  }
  const std::string long_path = "unix:/" + std::string(107, 'x');
  for (const std::string& bad :
       std::vector<std::string>{"localhost", ":80", "h:", "h:65536", "h:-1", "h:8x", "h: 80",
                                "h:000080", "::1:80", "unix:", "unix:relative", long_path}) {
    EXPECT_NE(ListenFault(bad), "") << bad;
  }
}

TEST(ConfigReference, IsTheCommittedPage) {
  std::ifstream file("common/CONFIGURATION.md");
  ASSERT_TRUE(file.good());
  std::stringstream page;
  page << file.rdbuf();
  EXPECT_EQ(page.str(), ConfigReference()) << "commit what ConfigReference() returns";
}

}  // namespace
}  // namespace millrace
