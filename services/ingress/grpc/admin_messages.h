// Statistics, settings and changes of the repository, as the protocol's messages.
//
// Purpose: what services/ingress/verbs.h says, in protobuf. Who may call: the frontend's thread;
//   nothing is kept. What fails: each, with the status and sentence of verbs.h.
#pragma once

#include "absl/status/statusor.h"
#include "common/api/inference.pb.h"
#include "services/ingress/frontend.h"

namespace millrace {

absl::Status TellStatistics(const Frontend& frontend,
                            const inference::ModelStatisticsRequest& request,
                            inference::ModelStatisticsResponse* response);

absl::StatusOr<ModelChange> ChangeOf(const inference::RepositoryModelLoadRequest& request);
absl::StatusOr<ModelChange> ChangeOf(const inference::RepositoryModelUnloadRequest& request);

// NOT_FOUND for a model that is not served.
absl::Status AnswerTraceSetting(const Frontend& frontend,
                                const inference::TraceSettingRequest& request,
                                inference::TraceSettingResponse* response);
absl::Status AnswerLogSettings(const inference::LogSettingsRequest& request,
                               inference::LogSettingsResponse* response);

}  // namespace millrace
