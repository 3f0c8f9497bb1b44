#include "services/ingress/testing/fake_frontend.h"

#include <utility>

#include "common/check.h"

namespace millrace {
namespace {

FakeRequest CopyRequest(const InferRequest& request, RequestId id) {
  FakeRequest copy;
  copy.id = id;
  copy.model = request.model;
  copy.version = request.version;
  for (const TensorView& input : request.inputs) {
    copy.inputs.push_back({std::string(input.name), input.datatype,
                           std::vector<int64_t>(input.shape.begin(), input.shape.end()),
                           std::string(input.raw)});
  }
  for (std::string_view output : request.outputs) copy.outputs.emplace_back(output);
  copy.deadline_ns = request.deadline_ns;
  copy.priority = request.priority;
  copy.trace = request.trace;
  copy.trace_state = request.trace.state;
  return copy;
}

FakeAnswer Echo(const FakeRequest& request) {
  return {absl::OkStatus(), request.model, request.version.empty() ? "1" : request.version,
          request.inputs};
}

// By value: the copy is scribbled over after Done, so that an adapter that keeps a view is caught.
void Deliver(Completion* completion, FakeAnswer answer) {
  std::vector<TensorView> outputs;
  for (const FakeTensor& output : answer.outputs) {
    outputs.push_back({output.name, output.datatype, output.shape, output.raw});
  }
  completion->Done(
      {answer.status, answer.model, answer.version, outputs, answer.retry_after_ms, answer.trace});
  answer.model.assign(answer.model.size(), '#');
  for (FakeTensor& output : answer.outputs) {
    output.name.assign(output.name.size(), '#');
    output.shape.assign(output.shape.size(), -1);
    output.raw.assign(output.raw.size(), '#');
  }
}

void FillSpec(TensorSpec* spec, std::string_view name, DataType type, std::vector<int64_t> dims) {
  spec->set_name(std::string(name));
  spec->set_datatype(static_cast<uint32_t>(type));
  for (int64_t dim : dims) spec->add_dims(dim);
}

void AddOutput(Model* model, std::string_view name, DataType type, int64_t columns,
               OutputKind kind) {
  OutputSpec* output = model->add_outputs();
  FillSpec(output->mutable_tensor(), name, type, {columns});
  output->set_kind(kind);
}

Model* AddModel(Catalog* catalog, std::string_view name, std::string_view version, bool latest) {
  Model* model = catalog->add_models();
  model->set_name(std::string(name));
  model->set_version(std::string(version));
  model->set_platform("xgboost");
  model->set_objective("reg:squarederror");
  model->set_max_rows(1024);
  model->set_latest(latest);
  return model;
}

std::string ConfigTensor(const TensorSpec& spec, std::string_view more) {
  std::string json = "{\"name\":\"" + spec.name() + "\",\"data_type\":\"TYPE_";
  const DataType type = static_cast<DataType>(spec.datatype());
  json.append(type == DataType::kBytes ? "STRING" : DataTypeName(type)).append("\",\"dims\":[");
  for (int i = 0; i < spec.dims_size(); ++i) {
    json.append(i > 0 ? "," : "").append("\"" + std::to_string(spec.dims(i)) + "\"");
  }
  return json.append("]").append(more).append("}");
}

// As the registry writes it: numbers of 64 bits are strings.
void SetConfig(Model* model) {
  std::string json = "{\"name\":\"" + model->name() +
                     "\",\"platform\":\"xgboost\",\"max_batch_size\":1024,\"input\":[";
  for (const TensorSpec& input : model->inputs()) {
    json.append(json.back() == '[' ? "" : ",").append(ConfigTensor(input, ""));
  }
  json.append("],\"output\":[");
  for (const OutputSpec& output : model->outputs()) {
    json.append(json.back() == '[' ? "" : ",");
    json.append(ConfigTensor(output.tensor(), ",\"label_filename\":\"\""));
  }
  model->set_config_json(
      json.append("],\"default_model_filename\":\"\",\"parameters\":{},\"backend\":\"\"}"));
}

}  // namespace

std::shared_ptr<const Catalog> FakeCatalog() {
  auto catalog = std::make_shared<Catalog>();
  for (std::string_view version : {"1", "2"}) {
    Model* plain = AddModel(catalog.get(), "plain", version, version == "2");
    FillSpec(plain->add_inputs(), "input", DataType::kFp32, {3});
    AddOutput(plain, "prediction", DataType::kFp32, 1, PREDICTION);
  }
  Model* viewed = AddModel(catalog.get(), "viewed", "1", true);
  FillSpec(viewed->add_inputs(), "input", DataType::kFp32, {4});
  AddOutput(viewed, "prediction", DataType::kFp32, 2, PREDICTION);
  AddOutput(viewed, "class", DataType::kInt64, 1, CLASS);
  AddOutput(viewed, "label", DataType::kBytes, 1, LABEL);
  viewed->mutable_view()->set_name("people");
  Feature* age = viewed->mutable_view()->add_features();
  age->set_column("age");
  age->set_type(Feature::NUMBER);
  Feature* plan = viewed->mutable_view()->add_features();
  plan->set_column("plan");
  plan->set_type(Feature::STRING);
  *viewed->mutable_view()->add_features() = *age;  // a column that two features read
  Model* ints = AddModel(catalog.get(), "ints", "1", true);
  FillSpec(ints->add_inputs(), "input", DataType::kInt64, {2});
  AddOutput(ints, "prediction", DataType::kFp64, 1, PREDICTION);
  for (Model& model : *catalog->mutable_models()) SetConfig(&model);
  FailedModel* broken = catalog->add_failed();
  broken->set_name("broken");
  broken->set_version("1");
  broken->set_reason("the file is truncated");
  return catalog;
}

FakeFrontend::FakeFrontend() : answerer_(Echo), catalog_(FakeCatalog()) {}

RequestId FakeFrontend::Infer(const InferRequest& request, Completion* completion) {
  MR_CHECK(completion != nullptr, "a request needs somebody to answer to");
  const RequestId id = next_id_++;
  seen_.push_back(CopyRequest(request, id));
  FakeAnswer answer = answerer_(seen_.back());
  if (traces_ && request.trace.parent.valid()) {
    answer.trace = {request.trace.parent.trace, kFakeSpan, request.trace.parent.sampled};
  }
  if (mode_ == Mode::kInline) {
    Deliver(completion, std::move(answer));
    return 0;
  }
  in_flight_[id] = {completion, std::move(answer), mode_ == Mode::kPoll};
  return id;
}

void FakeFrontend::Cancel(RequestId id) {
  auto found = in_flight_.find(id);
  if (found == in_flight_.end()) return;
  cancelled_.push_back(id);
  found->second.answer = {absl::CancelledError("the client went away"), "", "", {}};
  found->second.due = true;
}

void FakeFrontend::Release(RequestId id) {
  auto found = in_flight_.find(id);
  if (found != in_flight_.end()) found->second.due = true;
}

void FakeFrontend::ReleaseAll() {
  for (auto& [id, pending] : in_flight_) pending.due = true;
}

size_t FakeFrontend::Poll() {
  std::vector<RequestId> due;
  for (const auto& [id, pending] : in_flight_) {
    if (pending.due) due.push_back(id);
  }
  for (RequestId id : due) {
    // Out of the map first: Done may call Infer.
    auto node = in_flight_.extract(id);
    Deliver(node.mapped().completion, std::move(node.mapped().answer));
  }
  return due.size();
}

std::vector<ModelStatistic> FakeFrontend::Statistics(std::string_view model,
                                                     std::string_view version) const {
  std::vector<ModelStatistic> found;
  for (const ModelStatistic& one : statistics_) {
    if (!model.empty() && (one.name != model || (!version.empty() && one.version != version))) {
      continue;
    }
    found.push_back(one);
  }
  return found;
}

void FakeFrontend::ChangeModel(const ModelChange& change, ChangeDone done) {
  changes_.push_back(change);
  if (change_status_.has_value()) return done(*change_status_);
  changing_.push_back(std::move(done));
}

void FakeFrontend::Changed(const absl::Status& status) {
  MR_CHECK(!changing_.empty(), "a change is answered that was asked for");
  const ChangeDone done = std::move(changing_.front());
  changing_.pop_front();
  done(status);
}

void FakeFrontend::AskRoutes(RoutesQuestion question, RoutesDone done) {
  routes_asked_.push_back(std::move(question));
  if (routes_answerer_) return done(routes_answerer_(routes_asked_.back()));
  routes_asking_.push_back(std::move(done));
}

void FakeFrontend::Replied(const RoutesReply& reply) {
  MR_CHECK(!routes_asking_.empty(), "what is answered was asked");
  const RoutesDone done = std::move(routes_asking_.front());
  routes_asking_.pop_front();
  done(reply);
}

absl::Status FakeFrontend::ModelReady(std::string_view model, std::string_view version) const {
  if (catalog_ != nullptr) {
    for (const Model& known : catalog_->models()) {
      if (known.name() != model) continue;
      if (version.empty() ? !known.latest() : known.version() != version) continue;
      if (ready_) return absl::OkStatus();
      return absl::UnavailableError("model \"" + std::string(model) + "\" is not ready");
    }
  }
  return absl::NotFoundError("model \"" + std::string(model) + "\" is not known");
}

}  // namespace millrace
