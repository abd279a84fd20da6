#include "daemon/subject_config.h"

#include <algorithm>

#include "base/error.h"
#include "daemon/config_values.h"
#include "relay/route/subject.h"

namespace postrider {
namespace {

constexpr std::string_view kColumn = "column:";

std::string in_braces(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "{" : ", {") + name + "}";
  return text;
}

}  // namespace

void require_subject(const std::string& where, const std::string& subject,
                     const std::vector<std::string>& known) {
  std::string filled;  // each placeholder is a letter
  for (std::size_t i = 0; i < subject.size(); ++i) {
    if (subject[i] != '{') {
      filled += subject[i];
      continue;
    }
    const auto close = subject.find('}', i);
    if (close == std::string::npos)
      throw Failure(ErrorKind::kConfiguration, where + " has a brace that is not closed",
                    "{table}");
    const std::string name = subject.substr(i + 1, close - i - 1);
    const bool column = name.starts_with(kColumn) && name.size() > kColumn.size();
    if (!column && (name == "column:NAME" || std::ranges::find(known, name) == known.end()))
      throw Failure(
          ErrorKind::kConfiguration, where + " has an unknown placeholder {" + name + "}",
          "did you mean {" + nearest_name(name, known) + "}? " + in_braces(known) + " are known");
    filled += 'x';
    i = close;
  }
  if (!is_valid_event_subject(filled))
    throw Failure(ErrorKind::kConfiguration,
                  where + " \"" + subject + "\" is not a subject that NATS can carry",
                  "tokens of [A-Za-z0-9_%=+:@/~-] and placeholders, parted by single dots");
}

}  // namespace postrider
