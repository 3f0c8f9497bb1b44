// A libnvidia-ml with two devices, of which the second tells little.
#include <string.h>

extern "C" {

int nvmlInit_v2() { return 0; }

int nvmlDeviceGetCount_v2(unsigned int* count) {
  *count = 2;
  return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void** device) {
  static int devices[2];
  *device = &devices[index];
  devices[index] = static_cast<int>(index);
  return 0;
}

int nvmlDeviceGetUUID(void* device, char* uuid, unsigned int length) {
  strncpy(uuid, *static_cast<int*>(device) == 0 ? "GPU-a" : "GPU-b", length);
  return 0;
}

int nvmlDeviceGetUtilizationRates(void* device, unsigned int* rates) {
  rates[0] = 42;
  rates[1] = 7;
  return *static_cast<int*>(device) == 0 ? 0 : 3;
}

int nvmlDeviceGetMemoryInfo(void*, unsigned long long* memory) {
  memory[0] = 1000;
  memory[1] = 400;
  memory[2] = 600;
  return 0;
}

int nvmlDeviceGetPowerUsage(void* device, unsigned int* milliwatts) {
  *milliwatts = 123'500;
  return *static_cast<int*>(device) == 0 ? 0 : 3;
}

// No power limit: a library that lacks the function.

int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* millijoules) {
  *millijoules = 5'000;
  return *static_cast<int*>(device) == 0 ? 0 : 3;
}

}  // extern "C"
