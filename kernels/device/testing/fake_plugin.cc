// A device plug-in without a device, for tests: the reference stands in for it, and any call can be
// made to fail.
//
// The environment's MILLRACE_FAKE_DEVICE names a file of faults, read anew at each call:
//   CALL CODE [FROM [COUNT]]    the calls number FROM (1) to FROM + COUNT - 1 (all) answer CODE
// CALL is symbol (null), abi (another), start, register, open or run; counted since start.
// CODE 100: the call never returns; 101, of run: it answers kOk and its first margin is wrong.
// After a run, open or register that answered kLost (7) all of them do, as with a sticky error.
// What was called, but for runs, stands a line a call in the file's name with ".log".
//
// It aborts where the host breaks plugin.h: memory registered twice or let go unregistered, two
// runs of one model at a time, a call before start.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <string>

#include "common/check.h"
#include "kernels/device/plugin.h"
#include "kernels/plan/tree_plan.h"
#include "kernels/reference/evaluate.h"

namespace millrace {

struct DeviceModel {
  TreePlan plan;
  DeviceOptions options;
  std::atomic<int> running{0};
};

namespace {

std::mutex g_mutex;
std::map<std::string, int> g_calls;
std::map<const void*, uint64_t> g_registered;
bool g_started = false;
bool g_lost = false;

std::string FaultFile() {
  const char* path = getenv("MILLRACE_FAKE_DEVICE");
  return path == nullptr ? "" : path;
}

// The code that this call of `name` shall answer; kOk: none.
DeviceCode FaultOf(const std::string& name) {
  std::lock_guard<std::mutex> lock(g_mutex);
  const int number = ++g_calls[name];
  FILE* file = fopen(FaultFile().c_str(), "re");
  if (file == nullptr) return DeviceCode::kOk;
  char line[256], call[32];
  DeviceCode found = DeviceCode::kOk;
  while (fgets(line, sizeof line, file) != nullptr) {
    int code = 0, from = 1, count = 1 << 30;
    if (sscanf(line, "%31s %d %d %d", call, &code, &from, &count) < 2 || name != call) continue;
    if (number >= from && number - from < count) found = static_cast<DeviceCode>(code);
  }
  fclose(file);
  return found;
}

void Note(const std::string& what) {
  const std::string path = FaultFile() + ".log";
  FILE* file = fopen(path.c_str(), "ae");
  if (file == nullptr) return;
  fprintf(file, "%d %s\n", getpid(), what.c_str());
  fclose(file);
}

constexpr auto kHangs = static_cast<DeviceCode>(100);
constexpr auto kCorrupts = static_cast<DeviceCode>(101);

DeviceCode Answer(const char* name, DeviceError* error) {
  MR_CHECK(g_started, "the host starts a plug-in first");
  const DeviceCode code = g_lost ? DeviceCode::kLost : FaultOf(name);
  g_lost = g_lost || code == DeviceCode::kLost;
  while (code == kHangs) pause();
  snprintf(error->sentence, sizeof error->sentence, "%s",
           code == DeviceCode::kOk ? "" : (std::string(name) + " fails as asked").c_str());
  return code;
}

DeviceCode Start(int32_t device, DeviceInfo* info, DeviceError* error) {
  Note("start " + std::to_string(device));
  g_started = true;
  // A test's stand-in for a new process.
  g_lost = false;
  for (const char* call : {"register", "open", "run"}) g_calls[call] = 0;
  const DeviceCode code = Answer("start", error);
  if (code != DeviceCode::kOk) return code;
  *info = {};
  snprintf(info->name, sizeof info->name, "Fake device %d", device);
  info->compute_major = 9;
  info->driver_version = info->runtime_version = 13000;
  info->memory_bytes = uint64_t{16} << 30;
  info->reads_host_memory = 1;
  return code;
}

DeviceCode Register(const void* data, uint64_t bytes, DeviceError* error) {
  const DeviceCode code = Answer("register", error);
  Note("register " + std::to_string(bytes));
  if (code != DeviceCode::kOk) return code;
  std::lock_guard<std::mutex> lock(g_mutex);
  MR_CHECK(bytes > 0 && g_registered.emplace(data, bytes).second, "memory is registered once");
  return code;
}

void Unregister(const void* data) {
  std::lock_guard<std::mutex> lock(g_mutex);
  const auto found = g_registered.find(data);
  MR_CHECK(found != g_registered.end(), "only what is registered is let go");
  const uint64_t bytes = found->second;
  g_registered.erase(found);
  // It is still mapped: a device that reads it now must not fault.
  static std::atomic<uint64_t> sink;
  sink += static_cast<const unsigned char*>(data)[bytes - 1];
  Note("unregister " + std::to_string(bytes));
}

DeviceCode Open(const void* image, uint64_t bytes, const DeviceOptions* options,
                DeviceModel** model, DeviceError* error) {
  Note("open " + std::to_string(options->max_rows) + " " + std::to_string(options->fast));
  const DeviceCode code = Answer("open", error);
  if (code != DeviceCode::kOk) return code;
  absl::StatusOr<TreePlan> plan = TreePlan::Open({static_cast<const std::byte*>(image), bytes});
  if (!plan.ok()) return DeviceCode::kInvalid;
  *model = new DeviceModel{*plan, *options};
  return code;
}

void Close(DeviceModel* model) {
  MR_CHECK(model->running == 0, "a model is not closed while it runs");
  Note("close");
  delete model;
}

uint64_t DeviceBytes(const DeviceModel*) { return 4321; }

DeviceCode Run(DeviceModel* model, const DevicePiece* pieces, uint64_t count, DeviceError* error) {
  MR_CHECK(model->running.fetch_add(1) == 0, "a model runs one batch at a time");
  DeviceCode code = Answer("run", error);
  const bool corrupt = code == kCorrupts;
  if (corrupt) code = DeviceCode::kOk;
  uint64_t rows = 0;
  for (uint64_t i = 0; i < count; ++i) rows += pieces[i].rows;
  if (code == DeviceCode::kOk && (count > kMaxDevicePieces || rows > model->options.max_rows)) {
    code = DeviceCode::kInvalid;
  }
  for (uint64_t i = 0; i < count && code == DeviceCode::kOk; ++i) {
    reference::Margins(model->plan, DataType::kFp32, pieces[i].input, pieces[i].rows,
                       pieces[i].margins);
    // Of a float it is the exponent, of a double a small part: both are other numbers.
    if (corrupt) static_cast<unsigned char*>(pieces[i].margins)[3] ^= 0x10;
  }
  --model->running;
  return code;
}

// Steps of 1, 2, 4 and 8 us, of which the last ends now.
void LastTimes(const DeviceModel*, DeviceTimes* times) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t begin = now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec - 15'000;
  *times = {begin, begin + 1'000, begin + 3'000, begin + 7'000, begin + 15'000};
}

}  // namespace

extern "C" const DevicePlugin* millrace_device_plugin() {
  static DevicePlugin plugin = {kDeviceAbi, Start,       Register, Unregister, Open,
                                Close,      DeviceBytes, Run,      LastTimes};
  if (FaultOf("symbol") != DeviceCode::kOk) return nullptr;
  plugin.abi = kDeviceAbi + (FaultOf("abi") == DeviceCode::kOk ? 0 : 1);
  return &plugin;
}

}  // namespace millrace
