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
         R"(["binary_tensor_data","model_configuration","schedule_policy"]})");
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
         R"("input":[{"name":"input","data_type":"TYPE_FP32","dims":["3"]}],)"
         R"("output":[{"name":"prediction","data_type":"TYPE_FP32","dims":["1"],)"
         R"("label_filename":""}],)"
         R"("default_model_filename":"","parameters":{},"backend":""})");
  Expect("/v2/models/plain/ready", 200, R"({"name":"plain","ready":true})");
  Expect("/v1/models/plain", 200, R"({"name":"plain","ready":true})");
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
