// The corpus of bad versions: each is refused with a sentence, the version before goes on being
// served under its own route, and nothing is left behind. The same version without its one fault is
// served, so it is the fault that is refused.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>

#include "ipc/memfd.h"
#include "services/registry/manifest/sha256.h"
#include "services/registry/testing/signed_versions.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr char kUntil[] = "2027-01-01T00:00:00Z";
const std::string kHash(64, 'a');

size_t OpenFiles() {
  const auto entries = fs::directory_iterator("/proc/self/fd");
  return std::distance(fs::begin(entries), fs::end(entries));
}

// What lies in the repository, with hidden names.
std::vector<std::string> Names(const std::string& root) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    names.push_back(entry.path().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class BadVersions : public SignedVersions {
 protected:
  void SetUp() override {
    TrustOnlyTheKey();
    AddVersion(1);
    Sign(1, key_, kUntil);
    const BuiltCatalog& built = Build();
    ASSERT_THAT(Served(built), ElementsAre("m/1")) << Reasons(built);
    route_ = built.catalog.models(0).route();
    AddVersion(2, "0.5");
  }

  // With version 2 as it is now, signed or not.
  void ExpectRefused(const std::string& sentence) {
    const std::vector<std::string> names = Names(temp_.root());
    const size_t open_files = OpenFiles();
    const BuiltCatalog& built = Build();
    EXPECT_THAT(Served(built), ElementsAre("m/1"));
    ASSERT_EQ(built.catalog.models_size(), 1);
    EXPECT_EQ(built.catalog.models(0).route(), route_);
    EXPECT_TRUE(built.catalog.models(0).latest());
    EXPECT_THAT(Reasons(built), HasSubstr("m/2: "));
    EXPECT_THAT(Reasons(built), HasSubstr(sentence));
    EXPECT_THAT(Reasons(built), HasSubstr("served instead: version 1"));
    EXPECT_EQ(OpenFiles(), open_files);
    EXPECT_EQ(Names(temp_.root()), names);
  }
  void ExpectServed() {
    const BuiltCatalog& built = Build();
    EXPECT_THAT(Served(built), ElementsAre("m/2")) << Reasons(built);
  }
  void EditAndSign(std::string_view from, std::string_view to) {
    Edit(2, from, to);
    Sign(2, key_, kUntil);
  }

  uint32_t route_ = 0;
};

TEST_F(BadVersions, TheOneWithoutAFaultIsServed) {
  Sign(2, key_, kUntil);
  ExpectServed();
  const Provenance& provenance = Build().catalog.models(0).provenance();
  EXPECT_EQ(provenance.owner(), "nobody yet");
  EXPECT_EQ(provenance.signed_by(), key_.public_key);
  EXPECT_EQ(provenance.signed_until(), kUntil);
  EXPECT_EQ(provenance.fields(), 3u);
}

TEST_F(BadVersions, HalfWritten) {
  Sign(2, key_, kUntil);
  const std::string whole = Read("m/2/manifest.yaml");
  temp_.Write("m/2/manifest.yaml", whole.substr(0, whole.size() / 2));
  ExpectRefused("2/manifest.yaml");
  temp_.Write("m/2/manifest.yaml", "");
  ExpectRefused("must be a map");
  temp_.Write("m/2/manifest.yaml", whole);
  ExpectServed();
}

TEST_F(BadVersions, NoManifestYet) {
  temp_.Remove("m/2/manifest.yaml");
  ExpectRefused("2/manifest.yaml: is missing, and registry.allow_unsigned asks for it");
}

TEST_F(BadVersions, ATruncatedModelFile) {
  Sign(2, key_, kUntil);
  const std::string whole = Read("m/2/model.json");
  temp_.Write("m/2/model.json", whole.substr(0, whole.size() - 1));
  ExpectRefused("files[0].bytes: is " + std::to_string(whole.size()) + ", and model.json has " +
                std::to_string(whole.size() - 1));
  temp_.Write("m/2/model.json", "");
  ExpectRefused("model.json: the file is empty");
  temp_.Remove("m/2/model.json");
  ExpectRefused("m/2/model.json does not exist");
}

TEST_F(BadVersions, AnotherModelFileOfTheSameSize) {
  Sign(2, key_, kUntil);
  temp_.Write("m/2/model.json",
              Replaced(Read("m/2/model.json"), "[0.5,0.5,0.75]", "[0.5,0.6,0.75]"));
  ExpectRefused("files[0].sha256: is not that of model.json");
}

TEST_F(BadVersions, AWrongHash) {
  EditAndSign("bytes: ", "bytes: 9");
  ExpectRefused("files[0].bytes");
  AddVersion(2, "0.5");
  const std::string hash = Sha256Of(Read("m/2/model.json"));
  EditAndSign(hash, kHash);
  ExpectRefused("files[0].sha256: is not that of model.json, which is " + hash);
}

TEST_F(BadVersions, AWrongSignature) {
  ExpectRefused("signed: is missing, and registry.allow_unsigned is false");
  Sign(2, MakeSigningKey());
  ExpectRefused("signed.key: is none of registry.trusted_keys");
  Sign(2, key_, kUntil);
  Edit(2, "owner: nobody yet", "owner: somebody else");
  ExpectRefused("signed.ed25519: does not fit the file: it was changed after it was signed");
  Edit(2, "owner: somebody else", "owner: nobody yet");
  ExpectServed();
}

TEST_F(BadVersions, AnExpiredSignature) {
  Sign(2, key_, "2026-11-02T00:00:00Z");
  ExpectRefused("signed.until: is over: the signature has expired");
}

TEST_F(BadVersions, TheManifestOfAnotherVersion) {
  temp_.Write("m/2/manifest.yaml", Read("m/1/manifest.yaml"));
  temp_.Write("m/2/model.json", Read("m/1/model.json"));
  ExpectRefused("version: is 1, and the folder is 2");
  EditAndSign("version: 1", "version: 2");
  ExpectServed();
}

TEST_F(BadVersions, TheManifestOfAnotherModel) {
  EditAndSign("model: 'm'", "model: 'other'");
  ExpectRefused("model: is other, and the folder is m");
}

TEST_F(BadVersions, SymbolicAndHardLinks) {
  Sign(2, key_, kUntil);
  TempRepository outside;
  outside.Write("model.json", Read("m/2/model.json"));
  temp_.Remove("m/2/model.json");
  temp_.MakeLink("m/2/model.json", outside.root() + "/model.json");
  ExpectRefused("m/2/model.json leads through a symbolic link");

  temp_.Write("elsewhere.json", outside.root().empty() ? "" : Read("m/1/model.json"));
  temp_.Remove("m/2/model.json");
  temp_.MakeLink("m/2/model.json", "../../elsewhere.json");  // inside, and still refused
  ExpectRefused("leads through a symbolic link");

  temp_.Remove("m/2/model.json");
  fs::create_hard_link(outside.root() + "/model.json", Path("m/2/model.json"));
  ExpectRefused("m/2/model.json has another name (a hard link)");
  outside.Remove("model.json");  // its last name
  ExpectServed();
}

TEST_F(BadVersions, AManifestBehindALink) {
  Sign(2, key_, kUntil);
  fs::rename(Path("m/2/manifest.yaml"), Path("manifest.real"));
  temp_.MakeLink("m/2/manifest.yaml", "../../manifest.real");
  ExpectRefused("m/2/manifest.yaml leads through a symbolic link");
  fs::remove(Path("m/2/manifest.yaml"));
  fs::create_hard_link(Path("manifest.real"), Path("m/2/manifest.yaml"));
  ExpectRefused("m/2/manifest.yaml has another name");
}

TEST_F(BadVersions, AVersionFolderBehindALink) {
  Sign(2, key_, kUntil);
  fs::rename(Path("m/2"), Path("m/real"));
  temp_.MakeLink("m/2", "real");
  ExpectRefused("leads through a symbolic link");
}

TEST_F(BadVersions, TricksInNames) {
  const std::string good = "name: 'model.json'";
  for (const char* name : {"../1/model.json", "/etc/passwd", "..", "1/../model.json", ".hidden",
                           "model.json/", "model\\x2ejson"}) {
    AddVersion(2, "0.5");
    EXPECT_FALSE(
        SignManifest(Replaced(Read("m/2/manifest.yaml"), good, std::string("name: '") + name + "'"),
                     key_, "2026-11-01T00:00:00Z", "")
            .ok())
        << name;
    Edit(2, good, std::string("name: '") + name + "'");
    ExpectRefused("files[0].name: is '");
  }
}

TEST_F(BadVersions, WhatIsNoFile) {
  Sign(2, key_, kUntil);
  temp_.Remove("m/2/model.json");
  ASSERT_EQ(mkfifo(Path("m/2/model.json").c_str(), 0600), 0);
  ExpectRefused("m/2/model.json is not a regular file");
  temp_.Remove("m/2/model.json");
  temp_.MakeFolder("m/2/model.json");
  ExpectRefused("m/2/model.json is not a regular file");
}

TEST_F(BadVersions, AFileThatIsNotListed) {
  temp_.Write("m/2/golden.json", "{}");
  Sign(2, key_, kUntil);
  ExpectRefused("2/golden.json is there and not listed in the manifest");
  temp_.Remove("m/2/golden.json");
  ExpectServed();
}

TEST_F(BadVersions, AWrongGoldenOutput) {
  const std::string text = Read("m/2/manifest.yaml");
  const size_t answer = text.find("data: [", text.find("    outputs: ["));
  const std::string right = text.substr(answer, text.find(']', answer) - answer);
  EditAndSign(right, "data: [0.25");
  ExpectRefused("golden[0].outputs[0]: element 0 is 0.25, and the model answers 0.62");
  // The last bit of a float is a difference, but for what the tolerance leaves.
  const float next = nextafterf(std::stof(right.substr(right.find('[') + 1)), 1);
  char other[32];
  snprintf(other, sizeof other, "data: [%.9g", next);
  AddVersion(2, "0.5");
  EditAndSign(right, other);
  ExpectRefused("golden[0].outputs[0]: element 0 is 0.62");
  AddVersion(2, "0.5");
  Edit(2, right, other);
  EditAndSign("tolerance: 0", "tolerance: 1e-6");
  ExpectServed();
}

TEST_F(BadVersions, AWrongAnswerOfTheSecondVector) {
  const std::string text = Read("m/2/manifest.yaml");
  const size_t begin = text.find("  - inputs: ["), end = text.find("\n", text.find("tolerance: 0"));
  const std::string vector = text.substr(begin, end + 1 - begin);
  const size_t answer = vector.find("data: [", vector.find("    outputs: ["));
  const std::string right = vector.substr(answer, vector.find(']', answer) - answer);
  const auto second = [&](double is, const std::string& tolerance) {
    AddVersion(2, "0.5");
    std::string wrong = vector;
    wrong.replace(answer, right.size(), "data: [" + std::to_string(is));
    wrong.replace(wrong.find("tolerance: 0"), 12, "tolerance: " + tolerance);
    EditAndSign(vector, vector + wrong);
  };
  second(0.25, "0");
  ExpectRefused("golden[1].outputs[0]: element 0 is 0.25");
  second(0.6349, "1e-2");  // 2 % from 0.6225
  ExpectRefused("golden[1].outputs[0]: element 0 is 0.6");
  second(0.6280, "1e-2");
  ExpectServed();
}

TEST_F(BadVersions, AGoldenVectorThatDoesNotFitTheModel) {
  EditAndSign("data: [", "data: [1, ");
  ExpectRefused("golden[0]: inputs[0].data: must be 3 elements");
}

TEST_F(BadVersions, ASignatureThatChanged) {
  const struct {
    const char *from, *to, *sentence;
  } rows[] = {
      {"datatype: FP32", "datatype: FP64",
       "signature.inputs[0].datatype: is FP64, and the model has FP32"},
      {"shape: [-1, 3]", "shape: [-1, 4]",
       "signature.inputs[0].shape: is [-1, 4], and the model has [-1, 3]"},
      {"name: 'input', datatype", "name: 'rows', datatype",
       "signature.inputs[0].name: is rows, and the model has input"},
      {"kind: prediction", "kind: margin",
       "signature.outputs[0].kind: is margin, and the model has prediction"},
  };
  for (const auto& row : rows) {
    AddVersion(2, "0.5");
    EditAndSign(row.from, row.to);
    ExpectRefused(row.sentence);
  }
  // A config that changed under a manifest that did not.
  AddVersion(2, "0.5");
  Sign(2, key_, kUntil);
  temp_.Write("m/config.pbtxt",
              "platform: \"xgboost\" max_batch_size: 8\noutput { name: \"margin\" }\n");
  const BuiltCatalog& built = Build();
  EXPECT_THAT(Reasons(built), HasSubstr("signature.outputs[0].name: is prediction, and the model "
                                        "has margin"));
  EXPECT_THAT(Served(built), ElementsAre("m/1"));  // as it was before
}

TEST_F(BadVersions, FieldsThatNoInputHas) {
  EditAndSign("...\n",
              "data_protection: [{field: 'input[3]', purpose: p, legal_basis: none, "
              "retention_days: 1}]\nreference: [{field: age, edges: [], shares: [1]}]\n...\n");
  ExpectRefused("data_protection[0].field: is input[3], and no input has that name");
  ExpectRefused("reference[0].field: is age, and no input has that name");
}

TEST_F(BadVersions, APlanInPlaceOfAModel) {
  // One that this build made; another build's is no model either.
  const absl::StatusOr<Repository> repository = Repository::Open(temp_.root());
  const absl::StatusOr<Fd> file = repository->OpenFile("m/2/model.json");
  const absl::StatusOr<CompiledPlan> compiled = RunCompiler(file->get(), "auto", options_.compile);
  ASSERT_TRUE(compiled.ok());
  const auto map = MapImmutable(compiled->plan.get(), SIZE_MAX);
  const std::string plan(static_cast<const char*>(map->get_address()), map->get_size());
  const std::string hash = Sha256Of(Read("m/2/model.json"));
  Edit(2, "bytes: " + std::to_string(Read("m/2/model.json").size()),
       "bytes: " + std::to_string(plan.size()));
  EditAndSign(hash, Sha256Of(plan));
  temp_.Write("m/2/model.json", plan);
  ExpectRefused("m/2: ");
}

TEST_F(BadVersions, StrictModeAsksForMore) {
  Sign(2, key_, kUntil);
  options_.manifest.trust.strict = true;
  Restart();
  const BuiltCatalog& built = Build();
  EXPECT_THAT(Served(built), IsEmpty());
  EXPECT_THAT(Reasons(built), HasSubstr("lineage: is missing, and registry.strict asks for it"));
  EXPECT_THAT(Reasons(built), HasSubstr("policy: is missing, and registry.strict asks for it"));
  EditAndSign(
      "#! lineage: {data: sha256:HEX, code: git:HEX, parent: VERSION}",
      "policy: CP-7\nlineage: {data: 'sha256:" + kHash + "', code: 'sha256:" + kHash + "'}");
  ExpectServed();
}

TEST_F(BadVersions, EveryFaultIsToldAtOnce) {
  Edit(2, "version: 2", "version: 3");
  Edit(2, Sha256Of(Read("m/2/model.json")), kHash);
  Edit(2, "...\n", "polizy: x\n...\n");
  ExpectRefused("polizy: is not a field");
  ExpectRefused("version: is 3, and the folder is 2");
  ExpectRefused("signed: is missing");
  ExpectRefused("files[0].sha256: is not that of");
}

// Memory is where a registry writes: a limit stands in for a machine that has none left.
TEST_F(BadVersions, NoRoomForTheCopy) {
  Sign(2, key_, kUntil);
  signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 100;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const size_t open_files = OpenFiles();
  const BuiltCatalog& built = Build();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_THAT(Served(built), ElementsAre("m/1"));
  EXPECT_THAT(Reasons(built), HasSubstr("model.json: no memory for a copy of the file"));
  EXPECT_EQ(OpenFiles(), open_files);
  ExpectServed();
}

TEST_F(BadVersions, AFileLargerThanMayBe) {
  Sign(2, key_, kUntil);
  ASSERT_EQ(truncate(Path("m/2/model.json").c_str(), (int64_t{512} << 20) + 1), 0);
  ExpectRefused("model.json: the file has 536870913 bytes, and at most 536870912 are taken");
}

TEST_F(BadVersions, ARepositoryThatGoesAway) {
  Sign(2, key_, kUntil);
  fs::rename(temp_.root(), temp_.root() + ".gone");
  EXPECT_FALSE(builder_->Build(temp_.root()).ok());
  EXPECT_THAT(std::string(builder_->Load(temp_.root(), "m").status().message()),
              HasSubstr("the repository cannot be read now"));
  temp_.MakeFolder("");  // as an empty mount point
  EXPECT_THAT(std::string(builder_->Load(temp_.root(), "m").status().message()),
              HasSubstr("model \"m\" is not in the repository"));
  fs::remove(temp_.root());
  fs::rename(temp_.root() + ".gone", temp_.root());
  ExpectServed();
}

}  // namespace
}  // namespace millrace
