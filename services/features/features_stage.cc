#include "services/features/features_stage.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ipc/tensor_pack.h"

namespace millrace {
namespace {

constexpr size_t kItemsATurn = 32;

absl::Status Columns(const PackView& pack, const CompiledView& view, std::vector<Column>* columns) {
  const size_t count = view.column_names().size();
  if (pack.count() != count)
    return absl::InvalidArgumentError("not every column of the view is there");
  columns->resize(count);
  for (size_t c = 0; c < count; ++c) {
    const size_t at = pack.Find(static_cast<uint16_t>(c));
    if (at == pack.count()) {
      return absl::InvalidArgumentError(
          absl::StrCat("column '", view.column_names()[c], "' is missing"));
    }
    const PackTensor tensor = pack.tensor(at);
    (*columns)[c] = {tensor.datatype, tensor.data.data(), tensor.data.size()};
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::function<void()>> FeaturesStage::Prepare(CatalogWithPlans catalog) {
  RouteTable<const View>::Routes routes;
  for (const Model& model : catalog.catalog->models()) {
    if (!model.has_view()) continue;
    absl::StatusOr<CompiledView> view = CompiledView::Make(model.view());
    if (!view.ok()) {
      return absl::Status(view.status().code(),
                          absl::StrCat("model '", model.name(), "': ", view.status().message()));
    }
    std::vector<uint16_t> members;
    for (const Member& member : model.members()) members.push_back(member.route());
    if (members.empty()) members.push_back(model.route());
    if (members.size() > kMaxMembers) return absl::InvalidArgumentError("too many members");
    routes.emplace(model.route(),
                   std::make_shared<const View>(View{std::move(*view), std::move(members)}));
  }
  return [this, routes = std::move(routes)] { views_.Use(routes); };
}

absl::Status FeaturesStage::Apply(Worker& worker, const WorkItem& item, const View& view,
                                  BlockRef* block) {
  auto input = worker.Input(item);
  if (!input.has_value()) return absl::InternalError("the input cannot be read");
  absl::StatusOr<PackView> pack = PackView::Open(*input);
  if (!pack.ok()) return pack.status();
  static thread_local std::vector<Column> columns;
  if (absl::Status s = Columns(*pack, view.view, &columns); !s.ok()) return s;
  const size_t bytes = view.view.OutputBytes(pack->rows());
  PackWriter out(pack->rows());
  MaybeBlock taken;
  if (out.Add(0, DataType::kFp32, static_cast<uint32_t>(view.view.width()), bytes)) {
    taken = worker.Allocate(item, out.bytes());
  }
  if (!taken.has_value()) return absl::ResourceExhaustedError("the tensor is over the size limit");
  *block = *taken;
  out.Place(worker.At(*taken));
  return view.view.Apply(columns, pack->rows(), reinterpret_cast<float*>(out.Data(0)));
}

// To each member's execution worker; the block is shared by all.
void FeaturesStage::Answer(Worker& worker, const WorkItem& item) {
  const View* view = views_.Find(item.message.route);
  const size_t members = std::min<size_t>(item.entry.members, kMaxMembers);
  const bool known = view != nullptr && view->member_routes.size() >= members;
  BlockRef block;
  // Of a catalog that was past before this worker began. Nobody else would answer it before its
  // deadline.
  const absl::Status status = known ? Apply(worker, item, *view, &block)
                                    : absl::UnavailableError("the model is not loaded here");
  Hop hops[kMaxMembers];
  for (size_t m = 0; m < members; ++m) {
    hops[m] = {item.entry.execution[m], static_cast<uint8_t>(m),
               known ? view->member_routes[m] : item.message.route};
  }
  worker.Reply(item, {hops, members}, status, block);
}

size_t FeaturesStage::Work(Worker& worker) {
  size_t count = 0;
  while (count < kItemsATurn) {
    std::optional<WorkItem> item = worker.Pop();
    if (!item.has_value()) break;
    ++count;
    worker.Executing({&*item, 1}, 0);
    Answer(worker, *item);
    worker.Done();
    worker.page().Add(Counter::kBatches);
  }
  return count;
}

}  // namespace millrace
