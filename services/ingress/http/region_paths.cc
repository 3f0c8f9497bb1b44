#include "services/ingress/http/region_paths.h"

#include <limits>

#include "common/check.h"
#include "services/ingress/http/body.h"
#include "services/ingress/http/http_status.h"
#include "services/ingress/http/infer_inputs.h"
#include "services/ingress/http/json_writer.h"
#include "services/ingress/http/text.h"

namespace millrace::http {
namespace {

enum Member : uint32_t { kKey = 1, kOffset = 2, kByteSize = 4 };

Description Said(const absl::Status& status, std::string json) {
  if (status.ok()) return {200, std::move(json)};
  return {HttpCode(status), JsonError(Message(status))};
}

}  // namespace

Description RegionPaths::Answer(const Route& route, const std::string& body) {
  if (regions_ == nullptr) {
    const ClientRegions none{ClientRegionsOptions()};
    return Said(none.CheckAllowed(), "");
  }
  switch (route.endpoint) {
    case Endpoint::kRegionStatus: {
      absl::StatusOr<std::string> json = StatusJson(route.region);
      return Said(json.status(), json.ok() ? *std::move(json) : "");
    }
    case Endpoint::kRegionRegister:
      return Said(Register(route.region, body), "{}");
    case Endpoint::kRegionUnregister:
      return Said(regions_->Unregister(route.region), "{}");
    case Endpoint::kCudaStatus:
      return Said(regions_->CheckCudaStatus(route.region), "[]");
    case Endpoint::kCudaRegister:
      return Said(regions_->RefuseCuda(), "");
    case Endpoint::kCudaUnregister:
      return Said(regions_->CheckAllowed(), "{}");
    default:
      break;
  }
  MR_CHECK(false, "other paths are handled elsewhere");
  return {};
}

absl::StatusOr<std::string> RegionPaths::StatusJson(const std::string& region) const {
  const auto list = regions_->Status(region);
  if (!list.ok()) return list.status();
  std::string json = "[";
  for (const auto& entry : *list) {
    json.append(json.size() == 1 ? "{\"name\":" : ",{\"name\":");
    AppendJsonString(entry->name(), &json);
    json.append(",\"key\":");
    AppendJsonString(entry->key(), &json);
    Append(&json, ",\"offset\":", entry->offset(), ",\"byte_size\":", entry->bytes(), "}");
  }
  json.push_back(']');
  return json;
}

absl::Status RegionPaths::Register(const std::string& region, const std::string& body) {
  if (absl::Status status = regions_->CheckAllowed(); !status.ok()) return status;
  if (body.empty()) return absl::InvalidArgumentError("the body is empty");
  MR_CHECK(body.capacity() >= body.size() + kBodyPadding, "a body has padding");
  JsonReader::Object root;
  absl::Status status = reader_.Open(body.data(), body.size(), body.capacity(), &root);
  if (!status.ok()) return status;
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  Once once;
  std::string_view shared_key;
  int64_t offset = 0, bytes = 0;
  for (auto field : root) {
    std::string_view key;
    JsonReader::Value value;
    status = reader_.ReadMember(field, &key, &value);
    if (!status.ok()) return status;
    const FieldPath path{"", FieldPath::kNone, key};
    if (key == "key") {
      status = once.Take(kKey, path);
      if (status.ok()) status = reader_.ReadString(value, path, &shared_key);
    } else if (key == "offset") {
      status = once.Take(kOffset, path);
      if (status.ok()) status = reader_.ReadInt(value, path, 0, kMost, &offset);
    } else if (key == "byte_size") {
      status = once.Take(kByteSize, path);
      if (status.ok()) status = reader_.ReadInt(value, path, 0, kMost, &bytes);
    } else {
      status = reader_.Skip(value, kMemberDepth);
    }
    if (!status.ok()) return status;
  }
  if (status = reader_.Finish(); !status.ok()) return status;
  if (!once.has(kKey)) return absl::InvalidArgumentError("key: is missing");
  if (!once.has(kByteSize)) return absl::InvalidArgumentError("byte_size: is missing");
  return regions_->Register(region, shared_key, static_cast<uint64_t>(offset),
                            static_cast<uint64_t>(bytes));
}

}  // namespace millrace::http
