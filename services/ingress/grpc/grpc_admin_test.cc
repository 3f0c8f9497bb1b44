// What the methods beside inference answer: statistics, settings, changes of models, health's
// Watch.
#include <gmock/gmock.h>

#include "services/ingress/grpc/grpc_server_fixture_for_test.h"

namespace millrace {
namespace {

using grpc::StatusCode;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

INSTANTIATE_TEST_SUITE_P(Sockets, GrpcServerTest, ::testing::Values(SocketKind::kUnix),
                         [](const auto&) { return "Unix"; });

TEST_P(GrpcServerTest, StatisticsHaveEveryFigure) {
  ModelStatistic one;
  one.name = "plain";
  one.version = "2";
  one.last_inference_ms = 1;
  one.inference_count = 2;
  one.execution_count = 3;
  one.success = {4, 5};
  one.fail = {6, 7};
  one.queue = {8, 9};
  one.compute_input = {10, 11};
  one.compute_infer = {12, 13};
  one.compute_output = {14, 15};
  one.batches.push_back({16, {17, 18}, {19, 20}, {21, 22}});
  frontend_.set_statistics(
      {one, ModelStatistic{"viewed", "1", 0, 0, 0, {}, {}, {}, {}, {}, {}, {}, {}}});
  const auto ask = [&](const std::string& name, inference::ModelStatisticsResponse* response) {
    return Ask([&] {
      grpc::ClientContext context;
      inference::ModelStatisticsRequest request;
      request.set_name(name);
      return stub_->ModelStatistics(&context, request, response);
    });
  };
  inference::ModelStatisticsResponse response;
  ASSERT_TRUE(ask("", &response).ok());
  ASSERT_EQ(response.model_stats_size(), 2);
  ASSERT_TRUE(ask("plain", &response).ok());
  ASSERT_EQ(response.model_stats_size(), 1);
  const auto& stats = response.model_stats(0);
  EXPECT_EQ(stats.name() + stats.version(), "plain2");
  EXPECT_THAT((std::vector<uint64_t>{
                  stats.last_inference(), stats.inference_count(), stats.execution_count(),
                  stats.inference_stats().success().count(), stats.inference_stats().success().ns(),
                  stats.inference_stats().fail().count(), stats.inference_stats().fail().ns(),
                  stats.inference_stats().queue().count(), stats.inference_stats().queue().ns(),
                  stats.inference_stats().compute_input().count(),
                  stats.inference_stats().compute_input().ns(),
                  stats.inference_stats().compute_infer().count(),
                  stats.inference_stats().compute_infer().ns(),
                  stats.inference_stats().compute_output().count(),
                  stats.inference_stats().compute_output().ns()}),
              ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  EXPECT_TRUE(stats.inference_stats().has_cache_hit());
  EXPECT_TRUE(stats.inference_stats().has_cache_miss());
  ASSERT_EQ(stats.batch_stats_size(), 1);
  EXPECT_EQ(stats.batch_stats(0).batch_size(), 16u);
  EXPECT_EQ(stats.batch_stats(0).compute_output().ns(), 22u);
  EXPECT_EQ(ask("nobody", &response).error_code(), StatusCode::NOT_FOUND);
}

TEST_P(GrpcServerTest, AModelIsLoadedWhenTheChangeIsLive) {
  inference::RepositoryModelLoadRequest request;
  request.set_model_name("plain");
  grpc::ClientContext context;
  inference::RepositoryModelLoadResponse response;
  std::atomic<bool> over = false;
  auto answer = std::async(std::launch::async, [&] {
    const grpc::Status status = stub_->RepositoryModelLoad(&context, request, &response);
    over = true;
    return status;
  });
  Turn([&] { return frontend_.changes().size() == 1; });
  EXPECT_EQ(frontend_.changes()[0].model, "plain");
  EXPECT_EQ(frontend_.changes()[0].kind, ModelChange::Kind::kLoad);
  EXPECT_TRUE(ServerReady()) << "other calls are answered meanwhile";
  EXPECT_FALSE(over);
  frontend_.Changed(absl::OkStatus());
  Turn([&] { return over.load(); });
  EXPECT_TRUE(answer.get().ok());

  frontend_.set_change_status(absl::FailedPreconditionError("ensemble \"e\" needs it"));
  inference::RepositoryModelUnloadRequest unload;
  unload.set_model_name("plain");
  (*unload.mutable_parameters())["unload_dependents"].set_bool_param(true);
  for (int i = 0; i < 5; ++i) {
    const grpc::Status status = Ask([&] {
      grpc::ClientContext own;
      inference::RepositoryModelUnloadResponse empty;
      return stub_->RepositoryModelUnload(&own, unload, &empty);
    });
    EXPECT_EQ(status.error_code(), StatusCode::FAILED_PRECONDITION);
    EXPECT_EQ(status.error_message(), "ensemble \"e\" needs it");
  }
  EXPECT_TRUE(frontend_.changes().back().unload_dependents);
  EXPECT_EQ(frontend_.changes().back().kind, ModelChange::Kind::kUnload);
}

TEST_P(GrpcServerTest, ALoadThatCarriesAModelOrAPathIsRefused) {
  const auto load = [&](const std::function<void(inference::RepositoryModelLoadRequest*)>& fill) {
    inference::RepositoryModelLoadRequest request;
    request.set_model_name("plain");
    fill(&request);
    return Ask([&] {
      grpc::ClientContext context;
      inference::RepositoryModelLoadResponse response;
      return stub_->RepositoryModelLoad(&context, request, &response);
    });
  };
  for (const char* name : {"config", "file:1/model.json", "file:"}) {
    const grpc::Status status =
        load([&](auto* r) { (*r->mutable_parameters())[name].set_string_param("x"); });
    EXPECT_EQ(status.error_code(), StatusCode::UNIMPLEMENTED) << name;
    EXPECT_THAT(status.error_message(), HasSubstr("never from a request"));
  }
  for (const char* name : {"", "..", "../x", "a/b", ".hidden", "a..b", "a b"}) {
    EXPECT_EQ(load([&](auto* r) { r->set_model_name(name); }).error_code(),
              StatusCode::INVALID_ARGUMENT)
        << name;
  }
  EXPECT_EQ(load([&](auto* r) { r->set_repository_name("other"); }).error_code(),
            StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(load([&](auto* r) {
              (*r->mutable_parameters())["unload_dependents"].set_bool_param(true);
            }).error_code(),
            StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(frontend_.changes().empty());
}

TEST_P(GrpcServerTest, ShutdownDoesNotWaitForAChangeAndItsLateAnswerIsIgnored) {
  std::atomic<bool> over = false;
  auto answer = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    inference::RepositoryModelLoadRequest request;
    request.set_model_name("plain");
    inference::RepositoryModelLoadResponse response;
    const grpc::Status status = stub_->RepositoryModelLoad(&context, request, &response);
    over = true;
    return status;
  });
  Turn([&] { return frontend_.changes().size() == 1; });
  server_->Shutdown(0);
  EXPECT_FALSE(answer.get().ok());
  frontend_.Changed(absl::OkStatus());
}

TEST_P(GrpcServerTest, SettingsAreToldAndNotChanged) {
  const auto logs = [&](const std::function<void(inference::LogSettingsRequest*)>& fill,
                        inference::LogSettingsResponse* response) {
    inference::LogSettingsRequest request;
    fill(&request);
    return Ask([&] {
      grpc::ClientContext context;
      return stub_->LogSettings(&context, request, response);
    });
  };
  inference::LogSettingsResponse log;
  ASSERT_TRUE(logs([](auto*) {}, &log).ok());
  EXPECT_EQ(log.settings().at("log_file").string_param(), "");
  EXPECT_TRUE(log.settings().at("log_error").bool_param());
  EXPECT_EQ(log.settings().at("log_verbose_level").uint32_param(), 0u);
  EXPECT_TRUE(
      logs([](auto* r) { (*r->mutable_settings())["log_info"].set_bool_param(true); }, &log).ok());
  grpc::Status status = logs(
      [](auto* r) { (*r->mutable_settings())["log_file"].set_string_param("/etc/passwd"); }, &log);
  EXPECT_EQ(status.error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(status.error_message(), HasSubstr("no client may name a file"));
  status = logs([](auto* r) { (*r->mutable_settings())["log_info"].set_bool_param(false); }, &log);
  EXPECT_EQ(status.error_code(), StatusCode::UNIMPLEMENTED);
  status = logs([](auto* r) { (*r->mutable_settings())["log_info"].set_uint32_param(1); }, &log);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  status = logs([](auto* r) { (*r->mutable_settings())["colour"].set_bool_param(true); }, &log);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);

  inference::TraceSettingRequest request;
  inference::TraceSettingResponse trace;
  const auto ask = [&] {
    return Ask([&] {
      grpc::ClientContext context;
      return stub_->TraceSetting(&context, request, &trace);
    });
  };
  ASSERT_TRUE(ask().ok());
  EXPECT_THAT(trace.settings().at("trace_level").value(), ElementsAre("OFF"));
  (*request.mutable_settings())["trace_level"].add_value("TIMESTAMPS");
  EXPECT_EQ(ask().error_code(), StatusCode::UNIMPLEMENTED);
  request.Clear();
  (*request.mutable_settings())["trace_file"].add_value("/tmp/x");
  EXPECT_EQ(ask().error_code(), StatusCode::UNIMPLEMENTED);
  request.Clear();
  request.set_model_name("nobody");
  EXPECT_EQ(ask().error_code(), StatusCode::NOT_FOUND);
}

TEST_P(GrpcServerTest, AWatcherHearsEachChangeOfHealth) {
  std::atomic<int> heard = 0;
  std::vector<int> states;
  auto watcher = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    auto stream = health_->Watch(&context, HealthCheckRequest());
    HealthCheckResponse response;
    while (stream->Read(&response)) {
      states.push_back(response.status());
      ++heard;
    }
    const grpc::Status status = stream->Finish();
    heard = 100;
    return status;
  });
  Turn([&] { return heard == 1; });
  frontend_.set_ready(false);
  Turn([&] { return heard == 2; });
  frontend_.set_ready(true);
  Turn([&] { return heard == 3; });
  server_->Shutdown(kLimitNs);
  EXPECT_EQ(watcher.get().error_code(), StatusCode::UNAVAILABLE);
  EXPECT_THAT(states, ElementsAre(HealthCheckResponse::SERVING, HealthCheckResponse::NOT_SERVING,
                                  HealthCheckResponse::SERVING, HealthCheckResponse::NOT_SERVING));
}

TEST_P(GrpcServerTest, WatchersAreBoundedAndTheirPlacesUsedAgain) {
  for (int round = 0; round < 2; ++round) {
    const auto fill = [&] {
      std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
      std::vector<std::unique_ptr<grpc::ClientReader<HealthCheckResponse>>> open;
      HealthCheckRequest request;
      request.set_service(round == 0 ? "" : "somebody.Else");
      HealthCheckResponse response;
      while (open.size() < 200) {
        contexts.push_back(std::make_unique<grpc::ClientContext>());
        open.push_back(health_->Watch(contexts.back().get(), request));
        if (!open.back()->Read(&response)) break;
        EXPECT_EQ(response.status(),
                  round == 0 ? HealthCheckResponse::SERVING : HealthCheckResponse::SERVICE_UNKNOWN);
      }
      const grpc::Status status = open.back()->Finish();
      EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
      for (const auto& context : contexts) context->TryCancel();
      for (size_t i = 0; i + 1 < open.size(); ++i) open[i]->Finish();
      return open.size();
    };
    // In the second round the server may not have heard yet that the first one's watchers left.
    size_t opened = 0;
    for (int i = 0; i < 1000 && opened != 65; ++i) {
      Ask([&] {
        opened = fill();
        return grpc::Status::OK;
      });
      EXPECT_LE(opened, 65u);
    }
    EXPECT_EQ(opened, 65u);
  }
}

TEST_P(GrpcServerTest, AnOldConnectionIsToldToGoAndItsCallsAreAnswered) {
  GrpcServerOptions options;
  options.max_connection_age_ms = 50;
  options.connection_age_grace_ms = 20'000;
  Start(options);
  frontend_.set_mode(FakeFrontend::Mode::kHold);
  ClientCall* const held = Send(Request());
  Turn([&] { return frontend_.in_flight() == 1; });
  // The client's connection is told to go, and it says so by leaving READY.
  Turn([&] { return channel_->GetState(false) != GRPC_CHANNEL_READY; });
  EXPECT_FALSE(held->over);
  frontend_.ReleaseAll();
  Turn([&] { return held->over; });
  EXPECT_TRUE(held->status.ok()) << held->status.error_message();
}

}  // namespace
}  // namespace millrace
