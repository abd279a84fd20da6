#include "relay/route/subject.h"

#include <array>

namespace postrider {
namespace {

constexpr std::array<bool, 256> make_allowed() {
  std::array<bool, 256> allowed{};
  for (const char c : std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                       "0123456789_%=+:@/~-"))
    allowed[static_cast<unsigned char>(c)] = true;
  return allowed;
}
constexpr std::array<bool, 256> kAllowed = make_allowed();

}  // namespace

bool is_valid_event_subject(std::string_view subject, std::size_t longest) {
  if (subject.empty() || subject.size() > longest) return false;
  if (subject.front() == '_') return false;
  char previous = '.';
  for (const char c : subject) {
    if (c == '.') {
      if (previous == '.') return false;
    } else if (!kAllowed[static_cast<unsigned char>(c)]) {
      return false;
    }
    previous = c;
  }
  return previous != '.';
}

}  // namespace postrider
