// The API's contract as it is served: openapi.json, embedded when this is built.
//
// Purpose: the text for GET /openapi.json and its entity tag. Who may call: any thread.
// Invariants: 1. the text is the file's, byte by byte; openapi_test.cc holds the server to it.
//   2. The tag changes with the text and is the same in every process of one build.
// Nothing fails.
#pragma once

#include <string_view>

namespace millrace::http {

std::string_view OpenApiText();

// As ETag carries it: weak, since the text may travel packed.
std::string_view OpenApiTag();

// Whether a client that sent this If-None-Match has the text: the field is "*" or lists the tag.
bool HasOpenApi(std::string_view if_none_match);

}  // namespace millrace::http
