// One value of the configuration, from TOML or from the environment, read strictly. Every accessor
// throws Failure(kConfiguration) naming where the value stands, what is wrong and what would be
// right.
#pragma once

#include <toml++/toml.h>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

namespace postrider {

class ConfigValue {
 public:
  // `where` names the place in messages: "file:line: section.key" or the variable's name.
  static ConfigValue from_toml(std::string where, const toml::node& node);
  static ConfigValue from_text(std::string where, std::string text);

  [[nodiscard]] std::string text() const;
  // An array of strings that each match the regular expression; at least one.
  [[nodiscard]] std::vector<std::string> list_matching(const char* pattern) const;
  // An inline table of names to texts, not empty; no text is, and each name matches.
  [[nodiscard]] std::map<std::string, std::string> texts_by_name(const char* pattern) const;
  // The whole text must match the regular expression (ECMAScript).
  [[nodiscard]] std::string matching(const char* pattern) const;
  [[nodiscard]] std::string one_of(std::initializer_list<const char*> choices) const;
  [[nodiscard]] bool boolean() const;
  // Both bounds inclusive.
  [[nodiscard]] std::int64_t integer(std::int64_t least, std::int64_t most) const;
  // An integer and ms, s, m, h or d. Bounds in milliseconds, inclusive.
  [[nodiscard]] std::chrono::milliseconds duration(std::int64_t least_ms,
                                                   std::int64_t most_ms) const;
  [[nodiscard]] std::string readable_file() const;
  // A file that neither group nor others may read.
  [[nodiscard]] std::string secret_file() const;

 private:
  enum class Kind { kText, kInteger, kBoolean, kList, kTable, kOther };
  [[noreturn]] void refuse(const std::string& what, const std::string& remedy) const;

  std::string where_;
  Kind kind_ = Kind::kText;
  std::string text_;
  std::vector<std::string> list_;
  std::map<std::string, std::string> table_;
  std::int64_t integer_ = 0;
  bool boolean_ = false;
  bool from_environment_ = false;
};

constexpr std::int64_t minutes(std::int64_t n) {
  return n * 60 * 1000;
}
constexpr std::int64_t days(std::int64_t n) {
  return n * 24 * 60 * 60 * 1000;
}

// The name of `known` with the fewest edits from `name`.
[[nodiscard]] std::string nearest_name(const std::string& name,
                                       const std::vector<std::string>& known);
[[nodiscard]] std::vector<std::string> prefixed(const std::string& section,
                                                const std::vector<std::string>& names);

}  // namespace postrider
