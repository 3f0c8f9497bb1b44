#include "services/ingress/http/describe.h"

#include <gtest/gtest.h>

#include "services/ingress/http/openapi.h"
#include "services/ingress/testing/fake_frontend.h"

namespace millrace::http {
namespace {

class DescribeTest : public ::testing::Test {
 protected:
  void Expect(std::string_view target, int code, std::string_view json, bool draining = false) {
    const Description got = Describe(ParseTarget(target), frontend_, "9.9", draining);
    EXPECT_EQ(got.code, code) << target;
    EXPECT_EQ(got.json, json) << target;
  }
  FakeFrontend frontend_;
};

TEST_F(DescribeTest, Server) {
  Expect("/", 200, R"({"status":"alive"})");
  Expect("/openapi.json", 200, OpenApiText());
  Expect("/v2", 200,
         R"({"name":"millrace","version":"9.9","extensions":)"
         R"(["binary_tensor_data","classification","model_configuration","model_repository",)"
         R"x("model_repository(unload_dependents)","schedule_policy","statistics"]})x");
  Expect("/v2/health/live", 200, R"({"live":true})");
  Expect("/v2/health/ready", 200, R"({"ready":true})");
  Expect("/v2/models", 200, R"({"models":["ints","plain","viewed"]})");
  Expect("/v1/models", 200, R"({"models":["ints","plain","viewed"]})");
}

TEST_F(DescribeTest, Models) {
  Expect("/v2/models/plain", 200,
         R"({"name":"plain","versions":["1","2"],"platform":"xgboost",)"
         R"("inputs":[{"name":"input","datatype":"FP32","shape":[-1,3]}],)"
         R"("outputs":[{"name":"prediction","datatype":"FP32","shape":[-1,1]}]})");
  Expect("/v2/models/viewed/versions/1", 200,
         R"({"name":"viewed","versions":["1"],"platform":"xgboost",)"
         R"("inputs":[{"name":"input","datatype":"FP32","shape":[-1,4]}],)"
         R"("outputs":[{"name":"prediction","datatype":"FP32","shape":[-1,2]},)"
         R"({"name":"class","datatype":"INT64","shape":[-1,1]},)"
         R"({"name":"label","datatype":"BYTES","shape":[-1,1]}],)"
         R"("properties":{"feature_view":"people","raw_column.age":"number",)"
         R"("raw_column.plan":"string"}})");
  Expect("/v2/models/plain/config", 200,
         R"({"name":"plain","platform":"xgboost","max_batch_size":1024,)"
         R"("input":[{"name":"input","data_type":"TYPE_FP32","dims":[3],"is_shape_tensor":false,)"
         R"("format":"FORMAT_NONE","allow_ragged_batch":false,"optional":false}],)"
         R"("output":[{"name":"prediction","data_type":"TYPE_FP32","dims":[1],)"
         R"("label_filename":"","is_shape_tensor":false}],)"
         R"("default_model_filename":"","parameters":{},"backend":""})");
  Expect("/v2/models/plain/ready", 200, R"({"name":"plain","ready":true})");
  Expect("/v1/models/plain", 200, R"({"name":"plain","ready":true})");
}

// What a registry may write and this must not stumble over.
TEST_F(DescribeTest, Configurations) {
  const auto with = [&](std::string_view config) {
    auto catalog = std::make_shared<Catalog>(*FakeCatalog());
    for (Model& model : *catalog->mutable_models()) model.set_config_json(std::string(config));
    frontend_.set_catalog(catalog);
  };
  with(
      R"({"version_policy":{"specific":{"versions":["3","12"]}},"input":[{"dims":["-1","x",2]}]})");
  Expect("/v2/models/plain/config", 200,
         R"({"version_policy":{"specific":{"versions":[3,12]}},"input":[{"dims":[-1,"x",2],)"
         R"("is_shape_tensor":false,"format":"FORMAT_NONE","allow_ragged_batch":false,)"
         R"("optional":false}]})");
  with(R"({"version_policy":{"all":{}},"input":7,"output":[1]})");
  Expect("/v2/models/plain/config", 200, R"({"version_policy":{"all":{}},"input":7,"output":[1]})");
  for (const char* broken : {"", "[]", "{"}) {
    with(broken);
    Expect("/v2/models/plain/config", 500,
           R"({"error":"the model's configuration cannot be read"})");
  }
}

TEST_F(DescribeTest, Index) {
  const std::string served = R"({"name":"plain","version":"1","state":"READY"},)"
                             R"({"name":"plain","version":"2","state":"READY"},)"
                             R"({"name":"viewed","version":"1","state":"READY"},)"
                             R"({"name":"ints","version":"1","state":"READY"})";
  const std::string broken = R"({"name":"broken","version":"1","state":"UNAVAILABLE",)"
                             R"("reason":"it cannot be loaded; the server's log says why"})";
  const auto index = [&](bool draining, bool only_ready) {
    return Describe(ParseTarget("/v2/repository/index"), frontend_, "9.9", draining, only_ready)
        .json;
  };
  EXPECT_EQ(index(false, false), "[" + served + "," + broken + "]");
  EXPECT_EQ(index(false, true), "[" + served + "]");
  EXPECT_EQ(index(true, true), "[]");
  frontend_.set_ready(false);
  EXPECT_EQ(index(false, true), "[]");
  EXPECT_TRUE(
      index(false, false)
          .starts_with(R"([{"name":"plain","version":"1",)"
                       R"("state":"UNAVAILABLE","reason":"a stage that it needs is not ready"},)"));
  frontend_.set_catalog(nullptr);
  EXPECT_EQ(index(false, false), "[]");
}

TEST_F(DescribeTest, Unknown) {
  Expect("/v2/models/nobody", 404, R"({"error":"model \"nobody\" is not known"})");
  Expect("/v2/models/plain/versions/7", 404, R"({"error":"model \"plain\" has no version \"7\""})");
  Expect(
      "/v2/models/broken", 404,
      R"({"error":"model \"broken\" version \"1\" cannot be served; the server's log says why"})");
  Expect("/v2/models/nobody/ready", 404, R"({"error":"model \"nobody\" is not known"})");
  Expect("/v1/models/nobody", 404, R"({"error":"model \"nobody\" is not known"})");
}

TEST_F(DescribeTest, NotReady) {
  Expect("/v2/health/ready", 503, R"({"ready":false})", true);
  Expect("/v2/health/live", 200, R"({"live":true})", true);
  Expect("/v2/models/plain/ready", 503, R"({"name":"plain","ready":false})", true);
  frontend_.set_ready(false);
  Expect("/v2/health/ready", 503, R"({"ready":false})");
  Expect("/v1/models/plain", 503, R"({"name":"plain","ready":false})");
}

TEST_F(DescribeTest, BeforeTheFirstCatalog) {
  frontend_.set_catalog(nullptr);
  Expect("/v2/models", 200, R"({"models":[]})");
  Expect("/v2/models/plain", 503, R"({"error":"the models are not loaded yet"})");
}

}  // namespace
}  // namespace millrace::http
