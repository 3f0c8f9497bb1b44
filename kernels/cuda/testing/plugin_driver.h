// The plug-in as its host uses it, with a forest and the answers that it must give.
//
// Who may call: tests, one thread at a time for one Driver.
// Ownership: a Driver owns its image, rows and answers, and closes what it opened.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/cuda/testing/forest_runner.h"
#include "kernels/device/plugin.h"
#include "kernels/testing/forests.h"

extern "C" const millrace::DevicePlugin* millrace_device_plugin();

namespace millrace::cuda {

class Driver {
 public:
  Driver(const ForestSpec& spec, size_t rows, uint64_t in_place_bytes, bool fast = false)
      : image(MakeForest(spec)),
        rows(MakeRows(spec, rows, 0.2, 3)),
        expected(ReferenceMargins(PlanView{image.data()}, this->rows, rows)),
        options{.device = 0, .fast = fast, .max_rows = rows, .in_place_bytes = in_place_bytes},
        row_floats_(spec.features),
        margin_bytes_(expected.size() / rows) {}
  ~Driver() { Close(); }
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  DeviceCode Open() { return plugin.open(image.data(), image.size(), &options, &model, &error); }
  void Close() {
    if (model != nullptr) plugin.close(model);
    model = nullptr;
  }
  DeviceCode Register() {
    return plugin.register_memory(rows.data(), rows.size() * sizeof(float), &error);
  }
  void Unregister() { plugin.unregister_memory(rows.data()); }

  // The first n rows in pieces of at most `piece_rows`.
  DeviceCode Run(size_t n, size_t piece_rows = SIZE_MAX) {
    margins.assign(n * margin_bytes_, std::byte{0xcd});
    std::vector<DevicePiece> pieces;
    for (size_t at = 0; at < n; at += pieces.back().rows) {
      pieces.push_back({rows.data() + at * row_floats_, std::min(piece_rows, n - at),
                        margins.data() + at * margin_bytes_});
    }
    return plugin.run(model, pieces.data(), pieces.size(), &error);
  }
  // Of the last Run.
  bool Right() const { return std::equal(margins.begin(), margins.end(), expected.begin()); }

  const DevicePlugin& plugin = *millrace_device_plugin();
  const std::vector<std::byte> image;
  const std::vector<float> rows;
  const std::vector<std::byte> expected;
  const DeviceOptions options;
  DeviceModel* model = nullptr;
  DeviceError error = {};
  std::vector<std::byte> margins;

 private:
  size_t row_floats_;
  size_t margin_bytes_;
};

}  // namespace millrace::cuda
