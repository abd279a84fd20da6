#include "daemon/check/standby_names.h"

#include <algorithm>
#include <cctype>
#include <string>

namespace postrider {
namespace {

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

// The grammar is [FIRST|ANY] n (name, ...) or a bare list; a name may be quoted. FIRST, ANY and n
// in the place of a name are taken for names too: that errs on the side of a warning.
bool matches_standby_names(std::string_view setting, std::string_view application_name) {
  std::string name;
  bool quoted = false;
  const auto ends_match = [&] {
    const bool match =
        name == "*" || (!name.empty() && equal_ignoring_case(name, application_name));
    name.clear();
    return match;
  };
  for (const char c : setting) {
    if (c == '"') {
      quoted = !quoted;
    } else if (!quoted &&
               (c == ',' || c == '(' || c == ')' || std::isspace(static_cast<unsigned char>(c)))) {
      if (ends_match()) return true;
    } else {
      name += c;
    }
  }
  return ends_match();
}

}  // namespace postrider
