// Subjects of row changes, made from a template and the row's own values. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postrider {

class SubjectTemplate {
 public:
  // `text` as CaptureRule::subject; what stands in braces becomes a field by that name.
  explicit SubjectTemplate(std::string_view text);

  // Appends the subject. `field` gives each placeholder's value, nothing for NULL.
  template <class Field>
  void append_to(std::string& out, Field field) const;

 private:
  struct Part {
    std::string text;
    bool is_field = false;
  };
  std::vector<Part> parts_;
};

// Percent-encodes a value so that it stays within one token of a NATS subject: bytes other than
// [A-Za-z0-9_-] become %XX. Empty text is %00 and NULL is %00%00, since a token cannot be empty and
// no text holds U+0000. A value longer than 80 bytes when encoded is cut there, and ends with ~ and
// 16 hexadecimal digits of FNV-1a over all of it: subjects stay short, and other values stay apart.
void append_token(std::string& out, std::optional<std::string_view> value);

template <class Field>
void SubjectTemplate::append_to(std::string& out, Field field) const {
  for (const auto& part : parts_) {
    if (part.is_field)
      append_token(out, field(part.text));
    else
      out += part.text;
  }
}

}  // namespace postrider
