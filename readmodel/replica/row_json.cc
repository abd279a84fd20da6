#include "readmodel/replica/row_json.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace postrider::replica {
namespace {

constexpr std::array<std::pair<std::string_view, Op>, 5> kOps = {{{"insert", Op::kInsert},
                                                                  {"update", Op::kUpdate},
                                                                  {"delete", Op::kDelete},
                                                                  {"truncate", Op::kTruncate},
                                                                  {"read", Op::kRead}}};

std::optional<Op> op_of(std::string_view name) {
  const auto found = std::ranges::find(kOps, name, &std::pair<std::string_view, Op>::first);
  if (found == kOps.end()) return std::nullopt;
  return found->second;
}

constexpr bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// Reads JSON from the left. After the first thing that does not fit it is bad, and stays so.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  [[nodiscard]] bool bad() const { return bad_; }
  [[nodiscard]] bool at_end() {
    skip_blanks();
    return at_ == text_.size();
  }
  // Takes `c`, after blanks, if it is next.
  [[nodiscard]] bool take(char c) {
    skip_blanks();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void need(char c) {
    if (!take(c)) bad_ = true;
  }
  // A string, with its quotes.
  std::string_view string() {
    skip_blanks();
    const std::size_t begin = at_;
    skip_string();
    return bad_ ? std::string_view{} : text_.substr(begin, at_ - begin);
  }
  // A value with the blanks around it: up to the comma or bracket that ends it.
  std::string_view value() {
    const std::size_t begin = at_;
    std::size_t depth = 0;
    bool any = false;
    while (at_ < text_.size() && !bad_) {
      const char c = text_[at_];
      if (depth == 0 && (c == ',' || c == '}' || c == ']')) break;
      any = any || !is_blank(c);
      if (c == '"') {
        skip_string();
        continue;
      }
      if (c == '{' || c == '[') ++depth;
      if (c == '}' || c == ']') --depth;
      ++at_;
    }
    if (depth > 0 || !any) bad_ = true;
    return bad_ ? std::string_view{} : text_.substr(begin, at_ - begin);
  }

  // Calls `member(name)` at each value of an object; it reads the value.
  template <class OnMember>
  void object(OnMember member) {
    need('{');
    if (bad_ || take('}')) return;
    do {
      const auto name = string();
      need(':');
      if (!bad_) member(name);
    } while (!bad_ && take(','));
    need('}');
  }
  // Appends the strings of an array.
  void strings(std::vector<std::string_view>& into) {
    need('[');
    if (bad_ || take(']')) return;
    do into.push_back(string());
    while (!bad_ && take(','));
    need(']');
  }

 private:
  void skip_blanks() {
    while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
  }
  void skip_string() {
    if (at_ >= text_.size() || text_[at_] != '"') {
      bad_ = true;
      return;
    }
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        ++at_;
        return;
      }
    }
    bad_ = true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  bool bad_ = false;
};

void read_row(Scanner& scanner, std::vector<Member>& into) {
  scanner.object([&](std::string_view name) { into.push_back({name, scanner.value()}); });
}

std::optional<std::uint32_t> hex4(std::string_view text) {
  if (text.size() < 4) return std::nullopt;
  std::uint32_t value = 0;
  for (const char c : text.substr(0, 4)) {
    value <<= 4U;
    if (c >= '0' && c <= '9')
      value += static_cast<std::uint32_t>(c - '0');
    else if (c >= 'a' && c <= 'f')
      value += static_cast<std::uint32_t>(c - 'a' + 10);
    else if (c >= 'A' && c <= 'F')
      value += static_cast<std::uint32_t>(c - 'A' + 10);
    else
      return std::nullopt;
  }
  return value;
}

void append_utf8(std::string& out, std::uint32_t code) {
  const auto tail = [&](unsigned shift) {
    out += static_cast<char>(0x80U | ((code >> shift) & 0x3FU));
  };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0U | (code >> 6U));
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0U | (code >> 12U));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0U | (code >> 18U));
    tail(12);
    tail(6);
    tail(0);
  }
}

// \uXXXX, or two of them that make one character. `at` stands behind the first 'u', and afterwards
// behind what was read.
bool append_code(std::string& out, std::string_view text, std::size_t& at) {
  const auto first = hex4(text.substr(at));
  if (!first || *first == 0) return false;
  at += 4;
  if (*first < 0xD800 || *first > 0xDFFF) {
    append_utf8(out, *first);
    return true;
  }
  if (*first > 0xDBFF || text.substr(at, 2) != "\\u") return false;
  const auto second = hex4(text.substr(at + 2));
  if (!second || *second < 0xDC00 || *second > 0xDFFF) return false;
  at += 6;
  append_utf8(out, 0x10000 + ((*first - 0xD800) << 10U) + (*second - 0xDC00));
  return true;
}

}  // namespace

bool is_row_change(const ReceivedEvent& event) {
  // What a service emits has an id, whatever it calls its types.
  return event.id.empty() && event.type && op_of(*event.type).has_value();
}

bool is_debezium(const ReceivedEvent& event) {
  return event.payload.starts_with(R"({"before":)");
}

Result<void> parse_row_json(std::string_view payload, RowJson& into) {
  for (auto* row : {&into.row, &into.old}) row->clear();
  for (auto* names : {&into.unchanged, &into.json_null, &into.old_json_null}) names->clear();
  into.has_old = false;
  into.schema = into.table = {};
  std::optional<Op> op;
  Scanner scanner(payload);
  scanner.object([&](std::string_view quoted) {
    const auto name = quoted.substr(1, quoted.size() - 2);
    if (name == "op") {
      const auto value = scanner.string();
      if (!scanner.bad()) op = op_of(value.substr(1, value.size() - 2));
    } else if (name == "schema") {
      into.schema = scanner.string();
    } else if (name == "table") {
      into.table = scanner.string();
    } else if (name == "new") {
      read_row(scanner, into.row);
    } else if (name == "old") {
      into.has_old = true;
      read_row(scanner, into.old);
    } else if (name == "unchanged") {
      scanner.strings(into.unchanged);
    } else if (name == "json_null") {
      scanner.strings(into.json_null);
    } else if (name == "old_json_null") {
      scanner.strings(into.old_json_null);
    } else {
      (void)scanner.value();
    }
  });
  if (scanner.bad() || !scanner.at_end())
    return fail(ErrorKind::kMalformedEvent, "a row change that is no JSON object");
  if (!op || into.schema.empty() || into.table.empty())
    return fail(ErrorKind::kMalformedEvent, "a row change without op, schema or table");
  into.op = *op;
  return {};
}

std::string_view trimmed(std::string_view json) {
  while (!json.empty() && is_blank(json.front())) json.remove_prefix(1);
  while (!json.empty() && is_blank(json.back())) json.remove_suffix(1);
  return json;
}

bool append_unescaped(std::string& out, std::string_view json_string) {
  if (json_string.size() < 2 || json_string.front() != '"' || json_string.back() != '"')
    return false;
  const auto text = json_string.substr(1, json_string.size() - 2);
  std::size_t at = 0;
  while (at < text.size()) {
    const auto escape = text.find('\\', at);
    out.append(text.substr(at, escape - at));
    if (escape == std::string_view::npos) return true;
    if (escape + 1 >= text.size()) return false;
    at = escape + 2;
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const char letter = text[escape + 1];
    if (const auto found = kLetters.find(letter); found != std::string_view::npos)
      out += kMeanings[found];
    else if (letter != 'u' || !append_code(out, text, at))
      return false;
  }
  return true;
}

}  // namespace postrider::replica
