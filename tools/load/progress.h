// How far a load is, on a terminal.
//
// Purpose: `millrace load`. Who may call: one thread. Invariants: 1. nothing is written where the
//   descriptor is no terminal. 2. The line is rewritten in place, never wider than the terminal,
//   and gone when the bar is.
// Nothing fails: what cannot be written is not shown.
#pragma once

#include <stddef.h>

#include <string>

#include "tools/load/driver.h"

namespace millrace {

// The line, at most `width` columns: "1000/s [####    ]  50%  12 s  4998 sent  0 failed  p99 1.2
// ms".
std::string ProgressLine(const std::string& name, const DriveProgress& progress, size_t width);

class ProgressBar {
 public:
  explicit ProgressBar(int fd);
  ~ProgressBar() { Clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  bool shown() const { return shown_; }
  void Show(const std::string& name, const DriveProgress& progress);
  void Clear();

 private:
  void Write(const std::string& text);

  const int fd_;
  const bool shown_;
  bool drawn_ = false;
};

}  // namespace millrace
