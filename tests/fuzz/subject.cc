// Subjects, from services and from templates with values. Whatever is let through is a legal NATS
// subject; a filled template of the configuration always is one; other values give other subjects.
#include "relay/route/subject.h"

#include <array>
#include <string>

#include "relay/capture/header_text.h"
#include "relay/capture/subject_template.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/message_rules.h"

namespace postrider::fuzz {
namespace {

// Gives every placeholder the same value.
std::string fill(const SubjectTemplate& subject, std::optional<std::string_view> value) {
  std::string filled;
  subject.append_to(filled, [&](std::string_view) { return value; });
  return filled;
}

// PostgreSQL has no text with U+0000; append_token takes it for what is no text.
bool can_be_text(std::optional<std::string_view> value) {
  return !value || value->find('\0') == std::string_view::npos;
}

void require_token(std::optional<std::string_view> a, std::optional<std::string_view> b) {
  std::string first;
  std::string second;
  append_token(first, a);
  append_token(second, b);
  REQUIRE(is_legal_subject("x." + first) && first.find('.') == std::string::npos);
  REQUIRE(first.size() <= 80 + 17);
  if (can_be_text(a) && can_be_text(b)) REQUIRE((first == second) == (a == b));
}

}  // namespace
}  // namespace postrider::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postrider;
  using namespace postrider::fuzz;
  const std::string_view whole(reinterpret_cast<const char*>(data), size);
  if (is_valid_event_subject(whole)) REQUIRE(is_legal_subject(whole) && size <= kMaxSubjectSize);
  Input in({data, size});
  const std::string_view text = in.text();
  const std::string_view a = in.text();
  const std::string_view b = in.rest();
  require_token(a, b);
  require_token(std::nullopt, a);
  // What daemon/subject_config.cc accepts: valid with a letter for each placeholder.
  const SubjectTemplate subject(text);
  if (is_valid_event_subject(fill(subject, "x"))) {
    // A token's own characters besides, such as a value that follows '_' at the beginning.
    const auto filled = fill(subject, a);
    const bool begins = filled.starts_with('_');
    REQUIRE(is_legal_subject(filled) || begins);
    REQUIRE(is_legal_subject("shop." + filled));
    (void)is_valid_event_subject(filled, kMaxRowSubjectSize);
  }
  std::string header;
  append_header_text(header, a);
  REQUIRE(is_legal_header_value(header) && header.find_first_of("\t\x7f") == std::string::npos);
  REQUIRE(header.empty() || (header.front() != ' ' && header.back() != ' '));
  return 0;
}
