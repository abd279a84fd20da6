// A verdict about a stream, for people and for programs.
#pragma once

#include <string>

#include "daemon/verify/verify_stream.h"

namespace postrider {

struct StreamNames {
  std::string stream;
  std::string source;
};

[[nodiscard]] std::string to_text(const StreamVerdict& verdict, const StreamNames& names);
// One JSON object, without a line end.
[[nodiscard]] std::string to_json(const StreamVerdict& verdict, const StreamNames& names);

}  // namespace postrider
