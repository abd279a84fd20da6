#include "relay/progress/capture_rule.h"

#include <algorithm>

namespace postrider {
namespace {

// What is encoded in a subject, too, is a token of its own.
bool stands_as_it_is(const std::string& name) {
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string pattern_of(const std::string& text, const std::string& schema,
                       const std::string& table) {
  std::string pattern;
  std::string token;
  bool is_known = true;
  const auto end_token = [&] {
    pattern += (pattern.empty() ? "" : ".") + (is_known ? token : "*");
    token.clear();
    is_known = true;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '.') {
      end_token();
    } else if (text[i] == '{') {
      const auto close = text.find('}', i);
      const auto name = text.substr(i, close - i + 1);
      const std::string* value = name == "{schema}"  ? &schema
                                 : name == "{table}" ? &table
                                                     : nullptr;
      is_known = is_known && value != nullptr && stands_as_it_is(*value);
      if (value != nullptr) token += *value;
      i = close;
    } else {
      token += text[i];
    }
  }
  end_token();
  return pattern;
}

}  // namespace

const CaptureRule* find_rule(const std::vector<CaptureRule>& rules, std::string_view schema,
                             std::string_view table) {
  for (const auto& rule : rules)
    if (std::ranges::any_of(rule.tables,
                            [&](const auto& p) { return matches_table(p, schema, table); }))
      return &rule;
  return nullptr;
}

std::vector<std::string> subject_patterns(const CaptureRule& rule, const std::string& source,
                                          const std::string& schema, const std::string& table) {
  std::vector<std::string> patterns{source + "." + pattern_of(rule.subject, schema, table)};
  for (const auto& [value, subject] : rule.subject_values)
    patterns.push_back(source + "." + pattern_of(subject, schema, table));
  return patterns;
}

bool carries_column(const CaptureRule& rule, const std::string& column) {
  const auto has = [&](const std::vector<std::string>& names) {
    return std::ranges::find(names, column) != names.end();
  };
  return !has(rule.exclude) && (rule.columns.empty() || has(rule.columns));
}

}  // namespace postrider
