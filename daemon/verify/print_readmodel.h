// A verdict about a read model, for people and for programs.
#pragma once

#include <string>

#include "readmodel/verify/verify_readmodel.h"

namespace postrider {

struct VerifiedNames {
  std::string readmodel;
  std::string source;
};

[[nodiscard]] std::string to_text(const ReadModelVerdict& verdict, const VerifiedNames& names);
// One JSON object, without a line end.
[[nodiscard]] std::string to_json(const ReadModelVerdict& verdict, const VerifiedNames& names);

}  // namespace postrider
