#include "services/simulation/catalogs.h"

#include <string>

#include "common/datatype.h"
#include "ipc/memfd.h"
#include "ipc/testing/must.h"
#include "services/simulation/sim_model.h"

namespace millrace::sim {
namespace {

SharedFd Sealed(const std::string& bytes) {
  return std::make_shared<const Fd>(Must(MakeSealedCopy("simulated", bytes.data(), bytes.size())));
}

void AddOutput(Model* model, const char* name, OutputKind kind, DataType type) {
  OutputSpec* output = model->add_outputs();
  output->mutable_tensor()->set_name(name);
  output->mutable_tensor()->set_datatype(static_cast<uint32_t>(type));
  output->mutable_tensor()->add_dims(1);
  output->set_kind(kind);
}

Model* AddModel(Catalog* catalog, const char* name, uint32_t route, DataType prediction) {
  Model* model = catalog->add_models();
  model->set_name(name);
  model->set_version(std::to_string(catalog->generation()));
  model->set_route(route);
  model->set_max_rows(4);
  model->set_latest(true);
  model->set_prediction_columns(1);
  model->set_margin_columns(1);
  TensorSpec* input = model->add_inputs();
  input->set_name("input");
  input->set_datatype(static_cast<uint32_t>(DataType::kFp32));
  input->add_dims(1);
  AddOutput(model, "prediction", PREDICTION, prediction);
  AddOutput(model, "class", CLASS, DataType::kInt64);
  return model;
}

void AddView(Model* model) {
  model->mutable_view()->set_name("view");
  Feature* feature = model->mutable_view()->add_features();
  feature->set_column("x");
  feature->set_type(Feature::NUMBER);
}

}  // namespace

const Catalogs::Published& Catalogs::Make(uint64_t generation, uint32_t first_route) {
  auto catalog = std::make_shared<Catalog>();
  catalog->set_generation(generation);
  AddView(AddModel(catalog.get(), kViewModel, first_route, DataType::kFp32));
  AddModel(catalog.get(), kPlainModel, first_route + 1, DataType::kFp32);
  Model* both = AddModel(catalog.get(), kEnsemble, first_route + 2, DataType::kFp64);
  AddView(both);
  both->set_combine(WEIGHTED_MEAN);
  for (uint32_t route : {first_route, first_route + 1}) {
    both->add_members()->set_route(route);
    both->mutable_members()->rbegin()->set_weight(1);
  }
  Published published;
  published.plan_routes = {first_route, first_route + 1};
  published.fds = {Sealed(catalog->SerializeAsString()), Sealed(PlanBytes(ViewedSalt(generation))),
                   Sealed(PlanBytes(PlainSalt(generation)))};
  published.catalog = std::move(catalog);
  return made_[generation] = std::move(published);
}

}  // namespace millrace::sim
