// What a device cannot be faster than: a launch of nothing, and a copy of the rows.
//
// Who may call: the bench, after the plug-in has started; one thread.
// Fails: MeasureFloors with CUDA's sentence for the error.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>

namespace millrace {

// Called for each floor: `run` does it once, from the host's first call until it knows the end.
using FloorSink = std::function<void(const std::string& name, const std::function<void()>& run)>;

// "" or what failed.
std::string MeasureFloors(std::span<const size_t> copy_bytes, const FloorSink& sink);

}  // namespace millrace
