// Every answer that openapi.json promises is brought about once and held to its schema.
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>

#include "services/ingress/access/key_file_for_test.h"
#include "services/ingress/client_shm/regions.h"
#include "services/ingress/client_shm/shared_memory_for_test.h"
#include "services/ingress/http/http_client_for_test.h"
#include "services/ingress/http/openapi.h"
#include "services/ingress/http/openapi_answers_for_test.h"
#include "services/ingress/http/padded_for_test.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

using nlohmann::json;

json Document() { return json::parse(OpenApiText()); }

bool OfRegions(const Operation& operation) {
  return operation.path.find("sharedmemory") != std::string::npos;
}

void CommonRefusals(OpenApi* api, Answers* answers) {
  for (const Operation& operation : api->Operations()) {
    const std::string target = Fill(operation.path, "plain", "1");
    const auto expect = [&](std::string_view fields, int code, bool whole) {
      answers->Expect(operation, Bare(operation, target, fields), code, whole);
    };
    expect("Transfer-Encoding: gzip\r\n", 400, true);
    expect("Content-Length: 99999999\r\n", 413, false);
    expect("Content-Encoding: br\r\n", 415, true);
    expect("Expect: miracles\r\n", 417, true);
    expect(Concat("X: ", std::string(20'000, 'x'), "\r\n"), 431, false);
    const bool registers = operation.path == "/v2/systemsharedmemory/region/{region}/register";
    if (operation.method == "POST" && (registers || !OfRegions(operation))) {
      answers->Expect(operation, Post(target, "[]"), 400);
    }
    if (operation.path.find("{model}") == std::string::npos || operation.method == "POST") continue;
    answers->Expect(operation, Bare(operation, Fill(operation.path, "nobody", "1"), ""), 404);
  }
}

// What a server with small bounds says to a body that it would have to wait for.
void Bounds(OpenApi* api) {
  HttpOptions small;
  small.max_buffered_bytes = 10;
  Answers full(api, small);
  HttpOptions quick;
  quick.body_timeout_ms = 1;
  Answers slow(api, quick);
  std::vector<std::pair<int, Operation>> waiting;
  for (const Operation& operation : api->Operations()) {
    const std::string target = Fill(operation.path, "plain", "1");
    full.Expect(operation, Bare(operation, target, "Content-Length: 1000\r\n"), 503);
    const int fd = slow.test().Connect();
    slow.test().Send(fd, Bare(operation, target, "Content-Length: 1000\r\n"));
    waiting.emplace_back(fd, operation);
  }
  for (const auto& [fd, operation] : waiting) {
    const Response response = slow.test().Receive(fd, operation.method == "HEAD");
    EXPECT_EQ(response.code, 408) << operation.path;
    EXPECT_EQ(api->Check(operation, response), "");
    close(fd);
  }
}

void Reads(OpenApi* api, Answers* answers) {
  for (const Operation& operation : api->Operations()) {
    if (operation.method == "POST" || OfRegions(operation)) continue;
    for (const char* model : {"plain", "viewed", "ints"}) {
      answers->Expect(operation, Bare(operation, Fill(operation.path, model, "1"), ""), 200);
    }
    if (operation.path != "/openapi.json") continue;
    const std::string held = Concat("If-None-Match: ", OpenApiTag(), "\r\n");
    answers->Expect(operation, Bare(operation, operation.path, held), 304);
  }
  answers->frontend().set_ready(false);
  for (const Operation& operation : api->Operations()) {
    if (operation.method == "POST" || !operation.path.ends_with("ready")) continue;
    answers->Expect(operation, Bare(operation, Fill(operation.path, "plain", "1"), ""), 503);
  }
  answers->Expect({"/v1/models/{model}", "GET"}, "GET /v1/models/plain HTTP/1.1\r\n\r\n", 503);
  answers->frontend().set_ready(true);
  answers->frontend().set_catalog(nullptr);
  answers->Expect({"/v2/models", "GET"}, "GET /v2/models HTTP/1.1\r\n\r\n", 200);
  answers->Expect({"/v2/models/{model}", "GET"}, "GET /v2/models/m HTTP/1.1\r\n\r\n", 503);
  answers->frontend().set_catalog(FakeCatalog());
}

// A catalog that a fault of ours has damaged.
void DamagedCatalog(OpenApi* api, Answers* answers) {
  auto catalog = std::make_shared<Catalog>(*FakeCatalog());
  for (Model& model : *catalog->mutable_models()) model.set_config_json("{");
  answers->frontend().set_catalog(catalog);
  for (const Operation& operation : api->Operations()) {
    if (!operation.path.ends_with("/config")) continue;
    answers->Expect(operation, Bare(operation, Fill(operation.path, "plain", "1"), ""), 500);
  }
  answers->frontend().set_catalog(FakeCatalog());
}

void Examples(OpenApi* api, Answers* answers) {
  answers->frontend().set_change_status(absl::OkStatus());
  for (const Operation& operation : api->Operations()) {
    if (operation.method != "POST" || OfRegions(operation)) continue;
    const json& content = api->Of(operation)["requestBody"]["content"]["application/json"];
    for (const auto& [name, example] : content["examples"].items()) {
      const char* model = name == "columns" ? "viewed" : "plain";
      const std::string target = Fill(operation.path, model, "1");
      answers->Expect(operation, Post(target, example["value"].dump()), 200);
    }
    const json& body = api->Of(operation)["requestBody"];
    answers->Expect(operation, Bare(operation, Fill(operation.path, "plain", "1"), ""),
                    body["required"] ? 400 : 200);
  }
}

void FrontendsFaults(OpenApi* api, Answers* answers) {
  const std::pair<absl::Status, int> kFaults[] = {
      {absl::InvalidArgumentError("x"), 400},   {absl::NotFoundError("x"), 404},
      {absl::ResourceExhaustedError("x"), 429}, {absl::InternalError("x"), 500},
      {absl::UnavailableError("x"), 503},       {absl::DeadlineExceededError("x"), 504}};
  for (const Operation& operation : api->Operations()) {
    const bool predict = operation.path.ends_with(":predict");
    if (!predict && !operation.path.ends_with("/infer")) continue;
    const std::string target = Fill(operation.path, "plain", "1");
    const std::string_view body = predict ? R"({"instances":[[1,2,3]]})" : kPlainBody;
    for (const auto& [status, code] : kFaults) {
      answers->SetStatus(status);
      answers->Expect(operation, Post(target, body), code);
    }
    answers->Expect(operation, Post(target, "{"), 400);
    answers->SetStatus(absl::UnimplementedError("x"));
    if (!predict) answers->Expect(operation, Post(target, body), 501);
  }
}

ClientRegionsOptions Allowed() {
  ClientRegionsOptions options;
  options.allowed = true;
  return options;
}

HttpOptions WithRegions(ClientRegions* regions) {
  HttpOptions options;
  options.regions = regions;
  return options;
}

// Clients' shared memory: allowed, not allowed, and allowed for none.
void Regions(OpenApi* api, Answers* answers) {
  const std::string system = "/v2/systemsharedmemory";
  const std::string cuda = "/v2/cudasharedmemory";
  const std::string region = "/region/{region}";
  const auto ask = [&](Answers* server, const std::string& path, int code,
                       const std::string& body = "") {
    std::string told;
    for (const Operation& operation : api->Operations()) {
      if (operation.path != path) continue;
      const std::string target = Fill(path, "", "");
      const std::string text = body.empty() ? Bare(operation, target, "") : Post(target, body);
      const Response response = server->Expect(operation, text, code);
      if (operation.method == "GET") told = response.body;
    }
    return told;
  };
  SharedMemory memory("12345678");
  const std::string body = Concat(R"({"key":")", memory.key(), R"(","byte_size":4,"offset":2})");
  ask(answers, system + region + "/register", 200, body);
  const std::string told =
      Concat(R"([{"name":"r","key":")", memory.key(), R"(","offset":2,"byte_size":4}])");
  EXPECT_EQ(ask(answers, system + "/status", 200), told);
  EXPECT_EQ(ask(answers, system + region + "/status", 200), told);
  ask(answers, system + region + "/register", 400, body);
  for (const char* bad : {R"({"key":"a","byte_size":-1})", R"({"key":"a"})", R"({"byte_size":1})",
                          R"({"key":1,"byte_size":1})", R"({"key":"a","key":"a","byte_size":1})",
                          R"({"key":"../x","byte_size":1})", "{"}) {
    ask(answers, system + region + "/register", 400, bad);
  }
  ask(answers, system + region + "/unregister", 200);
  ask(answers, system + region + "/unregister", 404);
  ask(answers, system + region + "/status", 404);
  EXPECT_EQ(ask(answers, system + "/status", 200), "[]");
  ask(answers, system + "/unregister", 200);
  EXPECT_EQ(ask(answers, cuda + "/status", 200), "[]");
  ask(answers, cuda + region + "/status", 404);
  ask(answers, cuda + region + "/unregister", 200);
  ask(answers, cuda + "/unregister", 200);
  ask(answers, cuda + region + "/register", 501, "{}");

  ClientRegionsOptions none;
  none.allowed = true;
  none.max_regions = 0;
  ClientRegions no_regions(none);
  Answers full(api, WithRegions(&no_regions));
  ask(&full, system + region + "/register", 429, body);
  Answers off(api);
  for (const Operation& operation : api->Operations()) {
    if (OfRegions(operation)) ask(&off, operation.path, 501);
  }
}

// Without a key, with one of another scope, and with one that is used up.
void Keyed(OpenApi* api) {
  HttpOptions options;
  options.keys = KeysForTest();
  Answers answers(api, options);
  bool used_up = false;
  for (const Operation& operation : api->Operations()) {
    const std::string target = Fill(operation.path, "plain", "1");
    const Scope scope = ScopeOf(ParseTarget(target).endpoint);
    // The document says of each operation whether it needs a key.
    EXPECT_EQ(api->Of(operation).contains("security"), scope == kScopeNone) << operation.path;
    if (scope == kScopeNone) {
      answers.Expect(operation, Bare(operation, target, ""), 200);
      continue;
    }
    answers.Expect(operation, Bare(operation, target, ""), 401);
    const char* other = scope == kScopeInfer ? "metrics" : "infer";
    answers.Expect(operation, Bare(operation, target, Concat("X-API-Key: ", other, "\r\n")), 403);
    const std::string once = Bare(operation, target, "Authorization: Bearer once\r\n");
    if (!used_up) answers.Expect(operation, once, 200);
    used_up = true;
    answers.Expect(operation, once, 429);
  }
}

void RefusedChanges(OpenApi* api, Answers* answers) {
  const std::pair<absl::Status, int> kFaults[] = {
      {absl::FailedPreconditionError("x"), 400}, {absl::NotFoundError("x"), 404},
      {absl::ResourceExhaustedError("x"), 429},  {absl::InternalError("x"), 500},
      {absl::UnimplementedError("x"), 501},      {absl::UnavailableError("x"), 503},
      {absl::DeadlineExceededError("x"), 504}};
  for (const Operation& operation : api->Operations()) {
    if (operation.path.find("/repository/models/") == std::string::npos) continue;
    for (const auto& [status, code] : kFaults) {
      answers->frontend().set_change_status(status);
      answers->Expect(operation, Post(Fill(operation.path, "plain", "1"), "{}"), code);
    }
    answers->Expect(operation, Post(Fill(operation.path, "a..b", "1"), "{}"), 400);
  }
}

// Every figure that a client could read without looking.
void Statistics(Answers* answers) {
  std::vector<ModelStatistic> all;
  for (const char* name : {"plain", "viewed", "ints"}) {
    ModelStatistic& one = all.emplace_back();
    one.name = name;
    one.version = "1";
    one.success = {3, UINT64_MAX / 2};
    one.batches.push_back({7, {1, 2}, {3, 4}, {5, 6}});
  }
  answers->frontend().set_statistics(all);
  const Operation operation = {"/v2/models/{model}/stats", "GET"};
  const Response response =
      answers->Expect(operation, "GET /v2/models/plain/stats HTTP/1.1\r\n\r\n", 200);
  const json stats = json::parse(response.body)["model_stats"];
  ASSERT_EQ(stats.size(), 1u);
  EXPECT_EQ(stats[0]["inference_stats"]["success"]["ns"], UINT64_MAX / 2);
  EXPECT_EQ(stats[0]["batch_stats"][0]["compute_infer"]["ns"], 4);
  EXPECT_EQ(stats[0]["inference_stats"].size(), 8u);
}

TEST(OpenApiAnswers, EveryPromisedAnswerIsGivenAndKeepsItsSchema) {
  OpenApi api(Document());
  ClientRegions regions(Allowed());
  Answers answers(&api, WithRegions(&regions));
  answers.frontend().set_routes_answerer(RoutesReplyFor);
  Regions(&api, &answers);
  Settings(&answers);
  Statistics(&answers);
  Reads(&api, &answers);
  DamagedCatalog(&api, &answers);
  Examples(&api, &answers);
  CommonRefusals(&api, &answers);
  FrontendsFaults(&api, &answers);
  RefusedChanges(&api, &answers);
  RefusedRoutes(&api, &answers);
  Bounds(&api);
  Keyed(&api);
  EXPECT_EQ(api.Unseen(), std::vector<std::string>());
}

TEST(OpenApiAnswers, TensorsInSharedMemoryAndRawBodies) {
  OpenApi api(Document());
  ClientRegions regions(Allowed());
  Answers answers(&api, WithRegions(&regions));
  SharedMemory memory("abcdefghijkl............");
  ASSERT_TRUE(regions.Register("r", memory.key(), 0, 24).ok());
  const Operation infer = {"/v2/models/{model}/infer", "POST"};
  const std::string place = R"("shared_memory_region":"r","shared_memory_byte_size":12)";
  const std::string body =
      Concat(R"({"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","parameters":{)", place,
             R"(}}],"outputs":[{"name":"input","parameters":{)", place,
             R"(,"shared_memory_offset":12}}]})");
  const Response got = answers.Expect(infer, Post("/v2/models/plain/infer", body), 200);
  EXPECT_EQ(memory.Bytes(), "abcdefghijklabcdefghijkl");
  EXPECT_NE(got.body.find(
                R"("shape":[1,3],"parameters":{"binary_data_size":0,"shared_memory_region":"r",)"
                R"("shared_memory_byte_size":12,"shared_memory_offset":12}})"),
            std::string::npos)
      << got.body;
  // The client takes its memory away while the request is in flight.
  answers.frontend().set_answerer([&](const FakeRequest& request) {
    memory.Truncate(12);
    return FakeAnswer{absl::OkStatus(), "plain", "1", request.inputs};
  });
  answers.Expect(infer, Post("/v2/models/plain/infer", body), 400);
  EXPECT_EQ(memory.size(), 12u);
  memory.Truncate(4);
  answers.Expect(infer, Post("/v2/models/plain/infer", body), 400);
  EXPECT_NE(answers.Expect({"/v2", "GET"}, "GET /v2 HTTP/1.1\r\n\r\n", 200)
                .body.find("system_shared_memory"),
            std::string::npos);

  answers.frontend().set_answerer([](const FakeRequest& request) {
    return FakeAnswer{absl::OkStatus(), "plain", "1", request.inputs};
  });
  const std::string_view raw = "Inference-Header-Content-Length: 0\r\n";
  const std::string two_rows = "abcdefghijklABCDEFGHIJKL";
  const Response echoed = answers.Expect(infer, Post("/v2/models/plain/infer", two_rows, raw), 200);
  EXPECT_TRUE(echoed.body.ends_with(two_rows));
  EXPECT_NE(echoed.body.find(R"("shape":[2,3])"), std::string::npos);
  answers.Expect(infer, Post("/v2/models/plain/infer", two_rows.substr(1), raw), 400);
  answers.Expect(infer, Post("/v2/models/nobody/infer", two_rows, raw), 404);
}

TEST(OpenApiAnswers, OfEveryDatatypeInBothForms) {
  OpenApi api(Document());
  Answers answers(&api);
  const Operation infer = {"/v2/models/{model}/infer", "POST"};
  answers.frontend().set_answerer([](const FakeRequest&) {
    FakeAnswer answer{absl::OkStatus(), "plain", "1", {}};
    for (int type = static_cast<int>(DataType::kBool); type <= static_cast<int>(DataType::kBytes);
         ++type) {
      const DataType datatype = static_cast<DataType>(type);
      if (datatype == DataType::kFp16 || datatype == DataType::kBf16) continue;
      const size_t bytes = datatype == DataType::kBytes ? 4 : DataTypeSize(datatype);
      answer.outputs.push_back({Concat("o", type), datatype, {2, 1}, std::string(2 * bytes, '\0')});
    }
    answer.outputs.push_back({"none", DataType::kFp32, {0, 1}, ""});
    answer.outputs.push_back({"nan", DataType::kFp32, {1}, "\xff\xff\xff\xff"});
    return answer;
  });
  answers.Expect(infer, Post("/v2/models/plain/infer", kPlainBody), 200);
  std::string body = R"({"parameters":{"binary_data_output":true},"id":"x",)";
  body += kPlainBody.substr(1);
  const Response binary = answers.Expect(infer, Post("/v2/models/plain/infer", body), 200);
  EXPECT_EQ(FieldOf(binary, "content-type"), "application/octet-stream");
  answers.Expect({"/v1/models/{model}:predict", "POST"},
                 Post("/v1/models/plain:predict", R"({"instances":[[1,2,3]]})"), 500);
}

// Faults that a server could have, each of which Check must see.
TEST(OpenApiAnswers, AnAnswerThatBreaksThePromiseIsSeen) {
  OpenApi api(Document());
  const Operation infer = {"/v2/models/{model}/infer", "POST"};
  const std::string head = "http/1.1 200 ok\r\ncontent-type: application/json\r\n";
  const auto check = [&](int code, const std::string& fields, std::string_view body) {
    return api.Check(infer, {code, fields + "\r\n", std::string(body)});
  };
  EXPECT_EQ(check(200, head, kPlainAnswer), "");
  EXPECT_NE(check(201, head, kPlainAnswer), "");
  EXPECT_NE(check(200, "http/1.1 200 ok\r\n", kPlainAnswer), "");
  EXPECT_NE(check(200, head, kPlainAnswer.substr(1)), "");
  for (const char* member : {"model_name", "model_version", "outputs"}) {
    json answer = json::parse(kPlainAnswer);
    answer.erase(member);
    EXPECT_NE(check(200, head, answer.dump()), "") << member;
  }
  json answer = json::parse(kPlainAnswer);
  answer["outputs"][0]["datatype"] = "FLOAT";
  EXPECT_NE(check(200, head, answer.dump()), "");
  answer = json::parse(kPlainAnswer);
  answer["outputs"][0].erase("data");
  EXPECT_NE(check(200, head, answer.dump()), "");
  answer = json::parse(kPlainAnswer);
  answer["secret"] = 1;
  EXPECT_NE(check(200, head, answer.dump()), "");
  const std::string fault = R"({"error":"x"})";
  EXPECT_EQ(check(503, head + "retry-after: 1\r\n", fault), "");
  EXPECT_NE(check(503, head, fault), "");
  EXPECT_NE(check(503, head + "retry-after: soon\r\n", fault), "");
  EXPECT_NE(check(400, head, "{}"), "");
  EXPECT_NE(check(400, head, R"({"error":""})"), "");
  EXPECT_NE(api.Check({"/v2", "HEAD"}, {200, head, "x"}), "");
  EXPECT_FALSE(api.Unseen().empty());
}

}  // namespace
}  // namespace millrace::http
