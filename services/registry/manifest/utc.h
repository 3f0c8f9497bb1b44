// Times as a manifest writes them, YYYY-MM-DDThh:mm:ssZ, and as seconds since 1970.
// Who may call: any thread. What fails: ParseUtc gives nothing for another form, or a day that no
// month has.
#pragma once

#include <stdint.h>

#include <optional>
#include <string>

namespace millrace {

std::optional<int64_t> ParseUtc(const std::string& text);
std::string FormatUtc(int64_t seconds);

// The machine's clock. Only what is written down and read years later goes by it.
int64_t WallSeconds();

}  // namespace millrace
