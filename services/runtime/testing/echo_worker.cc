// A whole process of the runtime whose work is to answer with the input, reversed. Some inputs make
// it do what a broken stage would.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "services/runtime/worker_process.h"

namespace millrace {
namespace {

class EchoStage : public WorkerStage {
 public:
  absl::StatusOr<std::function<void()>> Prepare(CatalogWithPlans catalog) override {
    if (catalog.catalog->models_size() > 0)
      return absl::UnimplementedError("an echo has no models");
    return [] {};
  }

  absl::Status Start(Setup) override { return absl::OkStatus(); }

  size_t Work(Worker& worker) override {
    size_t count = 0;
    while (std::optional<WorkItem> item = worker.Pop()) {
      ++count;
      worker.Executing({&*item, 1}, 1000);
      Answer(worker, *item);
      worker.Done();
    }
    return count;
  }

 private:
  void Answer(Worker& worker, const WorkItem& item) {
    const Hop hop = {item.message.origin, 0, item.message.route};
    const auto reply = [&](const absl::Status& status, BlockRef block = {}) {
      worker.Reply(item, {&hop, 1}, status, block);
    };
    auto input = worker.Input(item);
    if (!input.has_value()) return reply(absl::InternalError("no input"));
    const std::string_view text(reinterpret_cast<const char*>(input->data()), input->size());
    if (text == "crash") raise(SIGSEGV);
    if (text == "hang") pause();
    if (text == "refuse") return reply(absl::InvalidArgumentError("as asked"));
    MaybeBlock block = worker.Allocate(item, text.size());
    if (!block.has_value()) return reply(absl::ResourceExhaustedError("no block"));
    std::reverse_copy(input->begin(), input->end(), worker.At(*block));
    reply(absl::OkStatus(), *block);
  }
};

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  millrace::EchoStage stage;
  return millrace::RunWorker(argc, argv, millrace::Stage::kExecution, &stage);
}
