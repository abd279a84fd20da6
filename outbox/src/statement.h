// Texts that carry an event's parts into a statement, before they are quoted as literals.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace postrider {

// PostgreSQL's hexadecimal input of bytea, "\x00ff"; independent of the connection's settings.
[[nodiscard]] std::string bytea_text(std::span<const std::byte> data);

// A JSON object of strings.
[[nodiscard]] std::string json_object(const std::map<std::string, std::string>& members);

// Builds the text form of a one-dimensional text[], element by element.
class TextArray {
 public:
  // nullopt adds a NULL.
  void add(const std::optional<std::string_view>& element);
  // The whole literal; the array is empty afterwards.
  [[nodiscard]] std::string take();

 private:
  std::string text_ = "{";
};

}  // namespace postrider
