// Replays the hostile inputs of corpus/ and mutations of them.
//
// A file's name begins with the HTTP code that the server answers: NAME.json is the body of a
// request to "plain", NAME.http is the whole request as it comes over the wire.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "services/ingress/http/catalog_json.h"
#include "services/ingress/http/http_client_for_test.h"
#include "services/ingress/http/infer_parser.h"
#include "services/ingress/http/padded_for_test.h"
#include "services/ingress/http/predict_parser.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

constexpr std::string_view kGet = "GET /v2/health/live HTTP/1.1\r\n\r\n";

struct Sample {
  std::string name;
  int code = 0;
  std::string text;
};

std::vector<Sample> Corpus(std::string_view extension) {
  std::vector<Sample> samples;
  for (const auto& entry : std::filesystem::directory_iterator("services/ingress/http/corpus")) {
    if (entry.path().extension() != extension) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    const std::string name = entry.path().filename();
    samples.push_back({name, atoi(name.c_str()), text.str()});
  }
  std::sort(samples.begin(), samples.end(),
            [](const Sample& a, const Sample& b) { return a.name < b.name; });
  return samples;
}

TEST(Corpus, BodiesGetTheirCodeAndTheConnectionStays) {
  TestServer test;
  const int fd = test.Connect();
  const std::vector<Sample> samples = Corpus(".json");
  ASSERT_GT(samples.size(), 60u);
  for (const Sample& sample : samples) {
    const Response response = test.Exchange(fd, Post("/v2/models/plain/infer", sample.text));
    EXPECT_EQ(response.code, sample.code) << sample.name << " " << response.body;
    ASSERT_TRUE(nlohmann::json::accept(response.body)) << sample.name << " " << response.body;
    EXPECT_EQ(response.code != 200, nlohmann::json::parse(response.body).contains("error"));
    ASSERT_EQ(test.Exchange(fd, kGet).code, 200) << sample.name;
  }
  close(fd);
}

TEST(Corpus, RequestsGetTheirCodeAndTheServerStays) {
  TestServer test;
  const std::vector<Sample> samples = Corpus(".http");
  ASSERT_GT(samples.size(), 35u);
  for (const Sample& sample : samples) {
    const int fd = test.Connect();
    EXPECT_EQ(test.Exchange(fd, sample.text).code, sample.code) << sample.name;
    close(fd);
  }
  test.Settle();
  EXPECT_EQ(test.server().connections(), 0u);
  const int fd = test.Connect();
  EXPECT_EQ(test.Exchange(fd, kGet).code, 200);
  close(fd);
}

class Random {
 public:
  uint32_t Below(uint32_t bound) {
    state_ = state_ * 6364136223846793005 + 1442695040888963407;
    return static_cast<uint32_t>(state_ >> 33) % bound;
  }

 private:
  uint64_t state_ = 42;
};

std::string Mutate(std::string text, Random* random) {
  static constexpr char kBytes[] = "{}[]:,\"\\0123456789.eE+-tfnull \n\x00\xff\xc3";
  static constexpr std::string_view kValues[] = {"null",  "-1", "2.5e3", "[]",
                                                 "\"s\"", "{}", "true"};
  for (uint32_t n = random->Below(3) + 1; n > 0 && !text.empty(); --n) {
    const size_t at = random->Below(text.size());
    switch (random->Below(8)) {
      case 0:
        text[at] = kBytes[random->Below(sizeof(kBytes) - 1)];
        break;
      case 1:
        text.insert(at, 1, kBytes[random->Below(sizeof(kBytes) - 1)]);
        break;
      case 2:
        text.erase(at, random->Below(8) + 1);
        break;
      case 3:
        if (random->Below(8) == 0) text.resize(at);
        break;
      case 4:
        text.insert(at, text.substr(random->Below(text.size()), random->Below(40)));
        break;
      default:  // what often stays JSON: another value where a digit was, another digit
        const size_t digit = text.find_first_of("0123456789", at);
        if (digit == std::string::npos) break;
        if (random->Below(2) == 0) {
          text[digit] = static_cast<char>('0' + random->Below(4));
        } else {
          text.replace(digit, 1, kValues[random->Below(std::size(kValues))]);
        }
    }
  }
  return text;
}

// Property: whatever comes in, a parser says OK or INVALID_ARGUMENT, and what is OK is consistent:
// each tensor holds as many bytes as its shape says.
TEST(Corpus, MutationsNeverConfuseTheParsers) {
  std::vector<Sample> samples = Corpus(".json");
  samples.push_back({"", 0, R"({"instances":[{"age":4,"plan":"a"},{"age":null,"plan":"b"}]})"});
  samples.push_back({"", 0, R"({"instances":[[1,2,3],[4,5,6]]})"});
  std::erase_if(samples, [](const Sample& sample) { return sample.text.size() > 600; });
  // Half of what is tried comes from what is good.
  std::vector<Sample> good_samples = samples;
  std::erase_if(good_samples, [](const Sample& sample) { return sample.code == 400; });
  const std::shared_ptr<const Catalog> catalog = FakeCatalog();
  const Model* const models[] = {*FindModel(catalog.get(), "plain", ""),
                                 *FindModel(catalog.get(), "viewed", "")};
  InferParser infer;
  PredictParser predict;
  ParsedInfer parsed;
  Random random;
  size_t good = 0;
  for (int i = 0; i < 200'000; ++i) {
    const std::vector<Sample>& from = random.Below(2) == 0 ? samples : good_samples;
    const std::string body = Padded(Mutate(from[random.Below(from.size())].text, &random));
    absl::Status status;
    if (i % 4 == 0) {
      status = predict.Parse(body, *models[random.Below(2)], &parsed);
    } else if (i % 4 == 1) {
      status = infer.Parse(body, random.Below(body.size() + 2), &parsed);
    } else {
      status = infer.Parse(body, std::nullopt, &parsed);
    }
    // UNIMPLEMENTED: shared memory, which this parser has none of.
    ASSERT_TRUE(status.ok() || absl::IsInvalidArgument(status) || absl::IsUnimplemented(status))
        << body;
    ASSERT_TRUE(status.ok() || !Message(status).empty());
    if (!status.ok()) continue;
    ++good;
    // What on-demand accepts, a whole-document parser accepts as well.
    if (i % 4 != 1) {
      ASSERT_TRUE(nlohmann::json::accept(body)) << body;
    }
    for (const TensorView& input : parsed.inputs) {
      size_t count = 1;
      for (int64_t dim : input.shape) count *= static_cast<size_t>(dim);
      const size_t width = DataTypeSize(input.datatype);
      if (width > 0) {
        ASSERT_EQ(input.raw.size(), count * width) << body;
      } else {
        ASSERT_GE(input.raw.size(), count * 4) << body;
      }
    }
  }
  EXPECT_GT(good, 2'000u);  // or the mutations are too wild to test anything
}

// Property: whatever bytes come over the wire, the server answers or closes, and serves the next.
TEST(Corpus, MutationsNeverConfuseTheServer) {
  HttpOptions options;
  options.linger_ms = 1;
  TestServer test(options);
  std::vector<Sample> samples = Corpus(".http");
  samples.push_back({"", 0, Post("/v2/models/plain/infer", kPlainBody) + std::string(kGet)});
  Random random;
  for (int i = 0; i < 3'000; ++i) {
    const int fd = test.Connect();
    test.Send(fd, Mutate(samples[random.Below(samples.size())].text, &random));
    test.Settle();
    close(fd);
    test.Settle();
    ASSERT_EQ(test.server().active_requests(), 0u);
    ASSERT_EQ(test.server().connections(), 0u);
  }
  const int fd = test.Connect();
  EXPECT_EQ(test.Exchange(fd, kGet).code, 200);
  close(fd);
}

}  // namespace
}  // namespace millrace::http
