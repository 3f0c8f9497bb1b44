#include "kernels/simt/faults.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>

#include "kernels/simt/device_state.h"
#include "kernels/simt/report.h"

namespace millrace::simt {
namespace {

[[noreturn]] void Refuse(std::string_view item, const char* why) {
  std::fprintf(stderr, "simt: fault '%.*s': %s\n", static_cast<int>(item.size()), item.data(), why);
  std::abort();
}

std::uint64_t ReadNumber(std::string_view text, std::string_view item, bool with_unit) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) Refuse(item, "a number is missing");
  const std::string_view rest(end, text.data() + text.size() - end);
  if (rest.empty()) return value;
  if (with_unit && rest == "K") return value << 10;
  if (with_unit && rest == "M") return value << 20;
  if (with_unit && rest == "G") return value << 30;
  Refuse(item, "a number is followed by something else");
}

void ParseOrder(DeviceState* device, std::string_view key, std::string_view value,
                std::string_view item) {
  const std::size_t hash = key.find('#');
  std::string_view number = key.substr(hash + 1);
  const bool and_all_after = number.ends_with('+');
  if (and_all_after) number.remove_suffix(1);
  const std::uint64_t error = ReadNumber(value, item, false);
  if (error == cudaSuccess || error > cudaErrorUnknown) Refuse(item, "that is no error of CUDA");
  device->orders.push_back({std::string(key.substr(0, hash)), ReadNumber(number, item, false),
                            and_all_after, static_cast<cudaError_t>(error)});
  if (device->orders.back().number == 0) Refuse(item, "calls are counted from 1");
}

void ParseItem(DeviceState* device, std::string_view item) {
  const std::size_t equals = item.find('=');
  if (equals == std::string_view::npos) Refuse(item, "it has no '='");
  const std::string_view key = item.substr(0, equals);
  const std::string_view value = item.substr(equals + 1);
  if (key.find('#') != std::string_view::npos) {
    ParseOrder(device, key, value, item);
  } else if (key == "driver") {
    device->driver_version = static_cast<int>(ReadNumber(value, item, false));
  } else if (key == "devices") {
    device->devices = static_cast<int>(ReadNumber(value, item, false));
  } else if (key == "memory") {
    if (device->memory.device_used() != 0) Refuse(item, "device memory is allocated already");
    device->memory.Reset(ReadNumber(value, item, true));
  } else if (key == "streams" && (value == "eager" || value == "lazy")) {
    device->eager = value == "eager";
  } else if (key == "seed" || key == "switch") {
    Options options = GetOptions();
    const std::uint64_t number = ReadNumber(value, item, false);
    if (key == "seed") options.seed = number;
    if (key == "switch") options.switch_one_in = static_cast<std::uint32_t>(number);
    SetOptions(options);
  } else {
    Refuse(item, "it is none of those that faults.h lists");
  }
}

}  // namespace

void ParseFaults(DeviceState* device, const std::string& text) {
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    ParseItem(device, rest.substr(0, comma));
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  }
}

void Faults::Parse(const std::string& text) {
  DeviceState& device = DeviceState::Get();
  const std::lock_guard lock(device.mutex);
  ParseFaults(&device, text);
}

void Faults::FailCall(std::uint64_t number, cudaError_t error) { FailCall("", number, error); }

void Faults::FailCall(const std::string& function, std::uint64_t number, cudaError_t error,
                      bool and_all_after) {
  DeviceState& device = DeviceState::Get();
  const std::lock_guard lock(device.mutex);
  device.orders.push_back({function, number, and_all_after, error});
}

std::uint64_t Faults::Calls() {
  DeviceState& device = DeviceState::Get();
  const std::lock_guard lock(device.mutex);
  return device.total_calls;
}

std::uint64_t Faults::Calls(const std::string& function) {
  DeviceState& device = DeviceState::Get();
  const std::lock_guard lock(device.mutex);
  const auto found = device.calls.find(function);
  return found == device.calls.end() ? 0 : found->second;
}

void Faults::Reset() {
  DeviceState& device = DeviceState::Get();
  const std::lock_guard lock(device.mutex);
  device.Reset();
}

bool Faults::IsSticky(cudaError_t error) {
  switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
      return true;
    default:
      return false;
  }
}

}  // namespace millrace::simt
