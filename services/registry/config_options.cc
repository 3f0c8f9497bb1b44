#include "services/registry/config_options.h"

namespace millrace {
namespace {

struct Row {
  std::string_view message;
  std::string_view field;
  ConfigOption option;
};

constexpr std::string_view kConfig = "ModelConfig";
constexpr std::string_view kBatching = "ModelDynamicBatching";

constexpr char kNoWait[] = "what waits is batched at once, and nothing waits for more";
constexpr char kDeadlines[] =
    "a request's own deadline bounds its wait, and the server's configuration bounds the queue";

constexpr Row kRows[] = {
    {kConfig,
     "instance_group",
     {true,
      "all workers serve every model (`millrace scale`), on the CPU or the device as was measured "
      "to be faster"}},
    {kConfig, "optimization", {true, "how a model is run is decided when it is compiled"}},
    {kConfig, "model_warmup", {true, "every version is warmed with its golden requests"}},
    {kConfig, "response_cache", {true, "answers are computed anew each time, and are the same"}},
    {kConfig, "metric_tags", {true, "metrics are labelled with model and version"}},
    {kConfig, "model_metrics", {true, "the edges of histograms are the same for all models"}},
    {kBatching, "preferred_batch_size", {true, kNoWait}},
    {kBatching, "max_queue_delay_microseconds", {true, kNoWait}},
    {kBatching, "default_priority_level", {false, "priorities are those of requests"}},
    {kBatching, "default_queue_policy", {false, kDeadlines}},
    {kBatching, "priority_queue_policy", {false, kDeadlines}},
    {kConfig,
     "ensemble_scheduling",
     {false,
      "models of the same input are joined by platform millrace_ensemble, and columns are prepared "
      "by a features.yaml"}},
    {kConfig, "sequence_batching", {false, "models here keep nothing from request to request"}},
    {kConfig,
     "model_repository_agents",
     {false, "files are checked against manifest.yaml (`millrace model init`)"}},
    {kConfig, "cc_model_filenames", {false, "one file serves every device"}},
    {kConfig, "runtime", {false, "there are no backends to choose from"}},
    {kConfig, "model_operations", {false, "no library is ever loaded for a model"}},
    {kConfig, "batch_input", {false, "a prediction does not depend on its batch"}},
    {kConfig, "batch_output", {false, "a prediction does not depend on its batch"}},
    {"ModelInput", "reshape", {false, "a tensor is [rows, columns]"}},
    {"ModelOutput", "reshape", {false, "a tensor is [rows, columns]"}},
};

}  // namespace

ConfigOption OptionOf(std::string_view message, std::string_view field) {
  for (const Row& row : kRows) {
    if (row.message == message && row.field == field) return row.option;
  }
  return {};
}

}  // namespace millrace
