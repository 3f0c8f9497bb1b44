// A LocalRig, and one client of the C interface that it serves. Nothing outside tests uses it.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "ipc/client/millrace_client.h"
#include "services/ingress/local/local_rig.h"

namespace millrace {

inline constexpr int64_t kForEver = -1;

class LocalServerTest : public ::testing::Test {
 protected:
  static LocalOptions FewPlaces() {
    LocalOptions options;
    options.in_flight = 8;
    options.max_clients = 3;
    return options;
  }
  ~LocalServerTest() override { mr_close(client_); }

  void Connect(int wait_mode = MR_WAIT_YIELD) { mr_options options = {}; }  // namespace millrace
