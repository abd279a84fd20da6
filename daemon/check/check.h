// `postrider check`: everything that can be known to be wrong before an event is at stake.
//
// Reads only. Each line says what was looked at, what was found, and, unless it is ok, what to do.
// The relay runs it at start and refuses on a failure.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "relay/options.h"

namespace postrider {

enum class CheckLevel { kOk, kWarn, kFail, kUnknown };

struct CheckLine {
  CheckLevel level = CheckLevel::kOk;
  std::string subject;  // what was looked at
  std::string found;
  std::string remedy;  // empty for kOk
  // True where the start of a session looks at the same thing and halts with an exit code of its
  // own.
  bool session_decides = false;
  bool unreachable = false;  // a server did not answer: looking again later may tell
};

// Never throws for what it finds: an unreachable server is a line (kUnknown for what hides behind
// it).
[[nodiscard]] std::vector<CheckLine> check_all(const RelayOptions& options);

// Prints an aligned table. Returns true when no line is a failure or unknown.
bool print_checks(const std::vector<CheckLine>& lines, std::ostream& out);

}  // namespace postrider
