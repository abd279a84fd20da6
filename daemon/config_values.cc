#include "daemon/config_values.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <regex>

#include "base/error.h"

namespace postrider {
namespace {

// std::regex recurses for each character: a text of some ten thousands would overflow the stack.
constexpr std::size_t kLongestMatched = 1000;

bool matches(const std::string& text, const char* pattern) {
  return text.size() <= kLongestMatched && std::regex_match(text, std::regex(pattern));
}

// For a message: a text that is too long is shown by its beginning.
std::string shown(const std::string& text) {
  return "\"" + text.substr(0, kLongestMatched) +
         (text.size() > kLongestMatched ? "...\" is longer than 1000 bytes, and" : "\"");
}

}  // namespace

ConfigValue ConfigValue::from_toml(std::string where, const toml::node& node) {
  ConfigValue value;
  value.where_ = std::move(where);
  if (const auto* text = node.as_string()) {
    value.text_ = text->get();
  } else if (const auto* integer = node.as_integer()) {
    value.kind_ = Kind::kInteger;
    value.integer_ = integer->get();
  } else if (const auto* boolean = node.as_boolean()) {
    value.kind_ = Kind::kBoolean;
    value.boolean_ = boolean->get();
  } else if (const auto* array = node.as_array();
             array != nullptr && array->is_homogeneous<std::string>()) {
    value.kind_ = Kind::kList;
    for (const auto& item : *array) value.list_.push_back(item.as_string()->get());
  } else if (const auto* table = node.as_table();
             table != nullptr && table->is_homogeneous<std::string>()) {
    value.kind_ = Kind::kTable;
    for (const auto& [name, item] : *table)
      value.table_.emplace(name.str(), item.as_string()->get());
  } else {
    value.kind_ = Kind::kOther;
  }
  return value;
}

ConfigValue ConfigValue::from_text(std::string where, std::string text) {
  ConfigValue value;
  value.where_ = std::move(where);
  value.text_ = std::move(text);
  value.from_environment_ = true;
  return value;
}

void ConfigValue::refuse(const std::string& what, const std::string& remedy) const {
  throw Failure(ErrorKind::kConfiguration, where_ + ": " + what, remedy);
}

std::string ConfigValue::text() const {
  if (kind_ != Kind::kText) refuse("is not a string", "write it in quotes");
  return text_;
}

std::string ConfigValue::matching(const char* pattern) const {
  if (!matches(text(), pattern))
    refuse(shown(text_) + " is not of the form " + pattern, "change it to that form");
  return text_;
}

std::vector<std::string> ConfigValue::list_matching(const char* pattern) const {
  if (kind_ != Kind::kList || list_.empty())
    refuse("is not a list of strings", "write it as [\"a\", \"b\"]");
  for (const auto& item : list_)
    if (!matches(item, pattern))
      refuse(shown(item) + " is not of the form " + pattern, "change it to that form");
  return list_;
}

std::map<std::string, std::string> ConfigValue::texts_by_name(const char* pattern) const {
  const bool whole =
      std::ranges::none_of(table_, [](const auto& item) { return item.second.empty(); });
  if (kind_ != Kind::kTable || table_.empty() || !whole)
    refuse("is not a table of strings", "write it as { a = \"b\", \"c d\" = \"e\" }");
  for (const auto& [name, text] : table_)
    if (!matches(name, pattern))
      refuse(shown(name) + " is not of the form " + pattern, "change it to that form");
  return table_;
}

std::string ConfigValue::one_of(std::initializer_list<const char*> choices) const {
  std::vector<std::string> names(choices.begin(), choices.end());
  if (std::ranges::find(names, text()) != names.end()) return text_;
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : ", ") + name;
  refuse("\"" + text_ + "\" is none of " + list,
         "did you mean \"" + nearest_name(text_, names) + "\"?");
}

bool ConfigValue::boolean() const {
  if (kind_ == Kind::kBoolean) return boolean_;
  if (from_environment_ && (text_ == "true" || text_ == "false")) return text_ == "true";
  refuse("is not a boolean", "it is true or false, without quotes");
}

std::int64_t ConfigValue::integer(std::int64_t least, std::int64_t most) const {
  std::int64_t value = integer_;
  if (kind_ != Kind::kInteger) {
    const char* end = text_.data() + text_.size();
    const auto [stopped, error] = std::from_chars(text_.data(), end, value);
    if (!from_environment_ || error != std::errc{} || stopped != end)
      refuse("is not an integer", "write a number without quotes");
  }
  if (value < least || value > most)
    refuse(std::to_string(value) + " is out of range",
           "from " + std::to_string(least) + " to " + std::to_string(most));
  return value;
}

std::chrono::milliseconds ConfigValue::duration(std::int64_t least_ms, std::int64_t most_ms) const {
  static const std::vector<std::pair<std::string, std::int64_t>> kUnits = {
      {"ms", 1}, {"s", 1000}, {"m", minutes(1)}, {"h", minutes(60)}, {"d", days(1)}};
  const std::string value = text();
  std::int64_t count = 0;
  const char* end = value.data() + value.size();
  const auto [stopped, error] = std::from_chars(value.data(), end, count);
  const std::string unit(stopped, end);
  const auto found = std::ranges::find(kUnits, unit, [](const auto& u) { return u.first; });
  std::int64_t ms = 0;
  if (error != std::errc{} || found == kUnits.end() || count < 0 ||
      __builtin_mul_overflow(count, found->second, &ms))
    refuse("\"" + value + "\" is not a duration", "an integer and ms, s, m, h or d: \"2m\"");
  if (ms < least_ms || ms > most_ms)
    refuse("\"" + value + "\" is out of range",
           "from " + std::to_string(least_ms) + " ms to " + std::to_string(most_ms) + " ms");
  return std::chrono::milliseconds(ms);
}

std::string ConfigValue::readable_file() const {
  if (::access(text().c_str(), R_OK) != 0)
    refuse(text_ + " cannot be read", "check the path and its rights");
  return text_;
}

std::string ConfigValue::secret_file() const {
  std::string path = readable_file();
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    refuse(path + " is a secret that others may read", "chmod 600 " + path);
  return path;
}

std::string nearest_name(const std::string& name, const std::vector<std::string>& known) {
  const auto distance = [&name](const std::string& other) {
    std::vector<std::size_t> row(other.size() + 1);
    std::iota(row.begin(), row.end(), 0U);
    for (std::size_t i = 0; i < name.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i + 1;
      for (std::size_t j = 0; j < other.size(); ++j) {
        const std::size_t substitute = diagonal + (name[i] == other[j] ? 0U : 1U);
        diagonal = row[j + 1];
        row[j + 1] = std::min({substitute, row[j] + 1, diagonal + 1});
      }
    }
    return row.back();
  };
  return *std::ranges::min_element(known, {}, distance);
}

std::vector<std::string> prefixed(const std::string& section,
                                  const std::vector<std::string>& names) {
  std::vector<std::string> all;
  all.reserve(names.size());
  for (const auto& name : names) all.push_back(section + "." + name);
  return all;
}

}  // namespace postrider
