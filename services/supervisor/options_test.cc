#include "services/supervisor/options.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>

#include "common/fault_rule.h"
#include "gtest/gtest.h"
#include "services/supervisor/exit_codes.h"

namespace millrace {
namespace {

std::string TempDir() {
  std::string path =
      std::string(getenv("TEST_TMPDIR") ? getenv("TEST_TMPDIR") : "/tmp") + "/oXXXXXX";
  EXPECT_NE(mkdtemp(path.data()), nullptr);
  return path;
}

std::string Write(const std::string& name, const std::string& text) {
  const std::string path = TempDir() + "/" + name;
  std::ofstream(path) << text;
  return path;
}

TEST(LoadConfig, WithoutAFileTheDefaultsHold) {
  const Startup startup = LoadConfig(Options());
  EXPECT_EQ(startup.exit_code, 0);
  EXPECT_EQ(startup.config.hang_ms, Config().hang_ms);
}

TEST(LoadConfig, EveryFaultIsToldByFileLineAndField) {
  Options options;
  options.config_file = Write("bad.yaml", "supervisor:\n  hang_ms: 1\nfeatures:\n  workers: 99\n");
  const Startup startup = LoadConfig(options);
  EXPECT_EQ(startup.exit_code, kExitConfiguration);
  ASSERT_EQ(startup.sentences.size(), 2u);
  EXPECT_EQ(startup.sentences[0].rfind(options.config_file + ":2: supervisor.hang_ms: ", 0), 0u);
  EXPECT_EQ(startup.sentences[1].rfind(options.config_file + ":4: features.workers: ", 0), 0u);
}

TEST(LoadConfig, AFileThatIsNotThere) {
  Options options;
  options.config_file = "/no/such/file.yaml";
  EXPECT_EQ(LoadConfig(options).exit_code, kExitConfiguration);
}

TEST(LoadConfig, OverridesWin) {
  Options options;
  options.config_file = Write("c.yaml", "repository: /a\n");
  options.repository = "/b";
  options.admin_socket = "/run/x.sock";
  const Startup startup = LoadConfig(options);
  EXPECT_EQ(startup.config.repository, "/b");
  EXPECT_EQ(AdminSocketPath(startup.config), "/run/x.sock");
}

TEST(LoadConfig, CountsOfTheBuildBeforeWin) {
  Options options;
  options.config_file = Write("n.yaml", "execution: {workers: 2}\n");
  options.counts = {"execution=5", "features=3"};
  const Startup startup = LoadConfig(options);
  EXPECT_EQ(startup.exit_code, 0);
  EXPECT_EQ(startup.config.execution_workers, 5);
  EXPECT_EQ(startup.config.features_workers, 3);
  for (const char* bad :
       {"execution", "execution=", "execution=0", "execution=9", "registry=1", "x=1"}) {
    options.counts = {bad};
    EXPECT_EQ(LoadConfig(options).exit_code, kExitConfiguration) << bad;
  }
}

TEST(CommandFor, AnotherBuildIsToldWhatThisOneWas) {
  Options options;
  options.config_file = "/etc/m.yaml";
  options.repository = "/models";
  options.admin_socket = "/run/s";
  options.metrics = "none";
  options.enable_faults = options.allow_client_shm = true;
  options.counts = {"execution=5"};
  options.binaries = "/old";
  const Build build = {{"/new", "/new/registry/compiler"}, "/new/supervisor/supervisor"};
  EXPECT_EQ(
      CommandFor(options, build),
      (std::vector<std::string>{"/new/supervisor/supervisor", "--binaries=/new",
                                "--compiler=/new/registry/compiler", "--config=/etc/m.yaml",
                                "--repository=/models", "--admin-socket=/run/s", "--metrics=none",
                                "--allow-client-shm", "--enable-faults", "--count=execution=5"}));
}

TEST(LoadConfig, APlanOfFaultsNeedsTheFlagAndReachesTheWorkersWhole) {
  Options options;
  options.config_file =
      Write("f.yaml",
            "faults:\n  seed: 7\n  rules:\n"
            "    - {stage: execution, kind: delay, delay_ms: 2, per: row}\n"
            "    - {stage: features, kind: loss, fraction: 0.01, model: \"a'b\"}\n");
  const Startup refused = LoadConfig(options);
  EXPECT_EQ(refused.exit_code, kExitConfiguration);
  ASSERT_EQ(refused.sentences.size(), 1u);
  EXPECT_NE(refused.sentences[0].find("--enable-faults"), std::string::npos);
  options.enable_faults = true;
  const Startup startup = LoadConfig(options);
  EXPECT_EQ(startup.exit_code, 0);
  const ConfigResult sent = ParseConfig(ConfigText(startup.config));
  ASSERT_TRUE(sent.faults.empty()) << sent.faults[0].message;
  EXPECT_EQ(sent.config.fault_seed, 7);
  const std::vector<FaultRule> rules = FaultRulesOf(sent.config);
  ASSERT_EQ(rules.size(), 2u);
  EXPECT_EQ(rules[0].delay_ns, 2'000'000);
  EXPECT_TRUE(rules[0].per_row);
  EXPECT_EQ(rules[1].model, "a'b");
  EXPECT_EQ(rules[1].kind, FaultKind::kLoss);
}

TEST(LoadConfig, SharedMemoryOfClientsNeedsOneIngressProcess) {
  Options options;
  options.allow_client_shm = true;
  EXPECT_EQ(LoadConfig(options).config.allow_client_shm, "true");
  options.config_file = Write("w.yaml", "ingress: {workers: 2}\n");
  EXPECT_EQ(LoadConfig(options).exit_code, kExitConfiguration);
  options.allow_client_shm = false;
  EXPECT_EQ(LoadConfig(options).exit_code, 0);
  options.config_file = Write("s.yaml", "ingress: {workers: 2, allow_client_shm: true}\n");
  EXPECT_EQ(LoadConfig(options).exit_code, kExitConfiguration);
}

TEST(ConfigText, IsReadBackToTheSameValues) {
  Config config;
  config.repository = "/mo\"dels/\\x: #1\n\xc3\xa9";
  config.grpc_listen = "";
  config.admin_socket = "/run/x.sock";
  config.hang_ms = 1234;
  config.execution_workers = 8;
  config.execution_cpus = "3";  // a text, though it reads like a number
  config.wait = "spin";
  const ConfigResult result = ParseConfig(ConfigText(config));
  ASSERT_TRUE(result.faults.empty()) << result.faults[0].field << result.faults[0].message;
  EXPECT_EQ(result.config.repository, config.repository);
  EXPECT_EQ(result.config.grpc_listen, "");
  EXPECT_EQ(result.config.hang_ms, 1234);
  EXPECT_EQ(result.config.execution_workers, 8);
  EXPECT_EQ(result.config.execution_cpus, "3");
  EXPECT_EQ(result.config.wait, "spin");
  EXPECT_EQ(ConfigText(result.config), ConfigText(config));
}

TEST(CheckMachine, TellsOfEveryCpuThatIsNotThere) {
  Config config;
  config.ingress_cpus = "0-1";
  config.features_cpus = "2,5";
  config.aggregation_cpus = "1";
  EXPECT_EQ(CheckCpus(config, {0, 1, 2, 5}).exit_code, kExitStopped);
  const Startup startup = CheckCpus(config, {1, 2});
  EXPECT_EQ(startup.exit_code, kExitCpus);
  EXPECT_EQ(startup.sentences,
            (std::vector<std::string>{"ingress.cpus: CPU 0 does not exist or is not allowed; this "
                                      "process may use 1-2",
                                      "features.cpus: CPU 5 does not exist or is not allowed; this "
                                      "process may use 1-2"}));
  config = Config();
  config.repository = TempDir();
  config.execution_cpus = "1023";
  EXPECT_EQ(CheckMachine(Options(), config).exit_code, kExitCpus);
}

TEST(CheckMachine, TellsOfTheRepositoryAndEveryMissingProgram) {
  Options options;
  options.binaries = TempDir();
  options.compiler = "/no/compiler";
  Config config;
  config.repository = "/no/such/folder";
  EXPECT_EQ(CheckMachine(options, config).exit_code, kExitRepository);
  config.repository = TempDir();
  const Startup startup = CheckMachine(options, config);
  EXPECT_EQ(startup.exit_code, kExitBinary);
  EXPECT_EQ(startup.sentences.size(), 7u) << "six stages and the compiler";
  config.metrics_listen = "";
  EXPECT_EQ(CheckMachine(options, config).sentences.size(), 6u) << "no observer";
}

TEST(Kernel, FromFiveTenOn) {
  for (const char* release : {"5.10.0", "5.10.0-28-amd64", "5.15", "6.1.0-13-amd64", "10.0"}) {
    EXPECT_TRUE(KernelIsNewEnough(release)) << release;
  }
  for (const char* release : {"5.9.16", "4.19.0", "2.6.32", "", "linux"}) {
    EXPECT_FALSE(KernelIsNewEnough(release)) << release;
  }
}

int Parse(std::vector<std::string> arguments, Options* options, bool* end) {
  arguments.insert(arguments.begin(), "/opt/millrace/supervisor/supervisor");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  return ParseOptions(static_cast<int>(argv.size()), argv.data(), options, end);
}

TEST(ParseOptions, ProgramsLieBesideThisOne) {
  Options options;
  bool end = true;
  EXPECT_EQ(Parse({"--config=/c.yaml"}, &options, &end), 0);
  EXPECT_FALSE(end);
  EXPECT_EQ(options.config_file, "/c.yaml");
  EXPECT_EQ(options.binaries, "/opt/millrace");
  EXPECT_EQ(options.compiler, "/opt/millrace/registry/compiler");
  EXPECT_EQ(Parse({"--binaries=/b", "--compiler=/c"}, &options, &end), 0);
  EXPECT_EQ(options.compiler, "/c");
}

TEST(ParseOptions, AnUnknownArgumentIsAFaultAndHelpIsNot) {
  Options options;
  bool end = false;
  EXPECT_EQ(Parse({"--nonsense"}, &options, &end), kExitUsage);
  EXPECT_TRUE(end);
  EXPECT_EQ(Parse({"--help"}, &options, &end), kExitStopped);
  EXPECT_TRUE(end);
}

}  // namespace
}  // namespace millrace
