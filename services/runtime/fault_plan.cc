#include "services/runtime/fault_plan.h"

#include <semaphore.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>

#include "common/clock.h"
#include "ipc/tensor_pack.h"
#include "services/runtime/liveness.h"
#include "services/runtime/process.h"

namespace millrace {
namespace {

// SplitMix64's finisher: every bit of the result depends on every bit of `x`.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

int64_t ThreadNanos() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * kNanosPerSecond + time.tv_nsec;
}

[[noreturn]] void HangForEver() {
  sem_t never;
  sem_init(&never, 0, 0);
  while (true) sem_wait(&never);
}

}  // namespace

std::unique_ptr<FaultPlan> FaultPlan::Make(const Config& config, Stage stage, bool without_device) {
  std::vector<FaultRule> rules = FaultRulesOf(config);
  if (rules.empty()) return nullptr;
  std::unique_ptr<FaultPlan> plan(
      new FaultPlan(std::move(rules), config.fault_seed, stage, without_device));
  // Ingress must know every rule, to tell which of them a request asks for.
  if (plan->here_ == 0 && stage != Stage::kIngress) return nullptr;
  return plan;
}

FaultPlan::FaultPlan(std::vector<FaultRule> rules, uint64_t seed, Stage stage, bool without_device)
    : rules_(std::move(rules)), seed_(seed) {
  for (size_t i = 0; i < rules_.size(); ++i) {
    const FaultRule& rule = rules_[i];
    if (rule.model.empty()) any_model_ |= 1u << i;
    if (rule.kind == FaultKind::kDeviceLost && without_device) continue;
    if (rule.stage == StageName(stage)) here_ |= 1u << i;
  }
}

uint32_t FaultPlan::Asked(std::string_view header) const {
  uint32_t rules = 0;
  for (size_t i = 0; i < rules_.size(); ++i) {
    if (!header.empty() && rules_[i].header == header) rules |= 1u << i;
  }
  return rules;
}

uint32_t FaultPlan::OfName(std::string_view model) const {
  uint32_t rules = any_model_;
  for (size_t i = 0; i < rules_.size(); ++i) {
    if (rules_[i].model == model && rules_[i].version.empty()) rules |= 1u << i;
  }
  return rules;
}

uint32_t FaultPlan::OfModel(const Model& model) const {
  uint32_t rules = OfName(model.name());
  for (size_t i = 0; i < rules_.size(); ++i) {
    const bool version = !rules_[i].version.empty() && rules_[i].version == model.version();
    if (version && rules_[i].model == model.name()) rules |= 1u << i;
  }
  return rules;
}

uint32_t FaultPlan::OfRoute(uint16_t route) const {
  const uint32_t* rules = models_.Find(route);
  return rules == nullptr ? any_model_ : *rules;
}

FaultPlan::Models FaultPlan::Match(const Catalog& catalog) const {
  Models models;
  for (const Model& model : catalog.models()) {
    models.emplace(model.route(), std::make_shared<const uint32_t>(OfModel(model)));
  }
  return models;
}

bool FaultPlan::Chosen(size_t rule, const FaultSubject& subject) const {
  const double fraction = rules_[rule].fraction;
  if (fraction >= 1) return true;
  const uint64_t drawn = Mix(Mix(seed_ << 8 | rule) ^ subject.key);
  return static_cast<double>(drawn >> 11) * 0x1p-53 < fraction;
}

uint32_t FaultPlan::Befalling(FaultKind kind, const FaultSubject& subject) const {
  uint32_t befalling = 0;
  for (uint32_t left = here_ & subject.of_model; left != 0; left &= left - 1) {
    const auto i = static_cast<size_t>(std::countr_zero(left));
    const FaultRule& rule = rules_[i];
    if (rule.kind != kind || (rule.once && !subject.first)) continue;
    if (!rule.header.empty() && (subject.asked >> i & 1) == 0) continue;
    if (Chosen(i, subject)) befalling |= 1u << i;
  }
  return befalling;
}

bool FaultPlan::Befalls(FaultKind kind, const FaultSubject& subject, Page* page) const {
  if (Befalling(kind, subject) == 0) return false;
  page->Add(Counter::kInjected);
  return true;
}

void FaultPlan::Delay(const FaultRule& rule, size_t rows) const {
  const int64_t delay_ns = rule.delay_ns * static_cast<int64_t>(rule.per_row ? rows : 1);
  if (rule.busy) {
    const int64_t end_ns = ThreadNanos() + delay_ns;
    while (ThreadNanos() < end_ns) {
    }
    return;
  }
  timespec left = {delay_ns / kNanosPerSecond, delay_ns % kNanosPerSecond};
  while (nanosleep(&left, &left) != 0) {
  }
}

void FaultPlan::BeforeWork(const FaultSubject& subject, size_t rows, Page* page) const {
  for (uint32_t left = Befalling(FaultKind::kDelay, subject); left != 0; left &= left - 1) {
    page->Add(Counter::kInjected);
    Delay(rules_[std::countr_zero(left)], rows);
  }
  CrashOrHang(subject, page);
  if (Befalls(FaultKind::kDeviceLost, subject, page)) {
    EndDying(kReasonDeviceLost, kExitDeviceLost);
  }
}

void FaultPlan::CrashOrHang(const FaultSubject& subject, Page* page) const {
  if (const uint32_t crash = Befalling(FaultKind::kCrash, subject); crash != 0) {
    page->Add(Counter::kInjected);
    const int signal = rules_[std::countr_zero(crash)].signal;
    if (signal == SIGKILL) kill(getpid(), SIGKILL);
    raise(signal);
  }
  if (Befalls(FaultKind::kHang, subject, page)) HangForEver();
}

void FaultPlan::Spoil(absl::Span<std::byte> bytes) {
  const absl::StatusOr<PackView> pack = PackView::Open(bytes);
  if (!pack.ok()) return;
  for (size_t t = 0; t < pack->count(); ++t) {
    const PackTensor tensor = pack->tensor(t);
    // Lengths of strings must stay: the answer shall be readable, and wrong.
    const size_t size = tensor.datatype == DataType::kBytes ? 0 : DataTypeSize(tensor.datatype);
    if (size == 0) continue;
    std::byte* data = bytes.data() + (tensor.data.data() - bytes.data());
    for (size_t i = size - 1; i < tensor.data.size(); i += size) data[i] ^= std::byte{0x40};
  }
}

}  // namespace millrace
