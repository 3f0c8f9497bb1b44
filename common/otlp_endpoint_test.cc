#include "common/otlp_endpoint.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

std::string Shown(std::string_view text) {
  const auto endpoint = OtlpEndpoint::Parse(text);
  if (!endpoint.ok()) return "";
  return (endpoint->grpc ? "grpc " : "http ") + endpoint->host + " " + endpoint->port + " " +
         endpoint->path;
}

TEST(OtlpEndpoint, HasThePortsAndThePathOfOtlp) {
  EXPECT_EQ(Shown("http://127.0.0.1:9000/a/b"), "http 127.0.0.1 9000 /a/b");
  EXPECT_EQ(Shown("http://localhost"), "http localhost 4318 /v1/traces");
  EXPECT_EQ(Shown("http://localhost/"), "http localhost 4318 /v1/traces");
  EXPECT_EQ(Shown("grpc://collector:1"), "grpc collector 1 /v1/traces");
  EXPECT_EQ(Shown("grpc://10.1.2.3"), "grpc 10.1.2.3 4317 /v1/traces");
  EXPECT_EQ(Shown("http://[::1]:4318"), "http ::1 4318 /v1/traces");
  EXPECT_EQ(Shown("http://[fd00::1]"), "http fd00::1 4318 /v1/traces");
}

TEST(OtlpEndpoint, WhatIsNoneHasASentence) {
  for (const char* text :
       {"", "127.0.0.1:4318", "https://127.0.0.1", "http://", "http://:4318", "http://a:0",
        "http://a:65536", "http://a:b", "http://a:", "http://[::1", "http://[::1]x", "grpc://a/b",
        "http://a/b c", "http://u@a", "http://8.8.8.8", "http://172.32.0.1", "http://[2001::1]",
        "http://[::ffff:8.8.8.8]"}) {
    EXPECT_EQ(Shown(text), "") << text;
  }
  EXPECT_NE(Shown("http://172.31.0.1"), "");
  EXPECT_NE(Shown("http://192.168.1.1"), "");
  EXPECT_NE(Shown("http://[::ffff:10.0.0.1]"), "");
}

}  // namespace
}  // namespace millrace
