#include "readmodel/subject_pattern.h"

namespace postrider {
namespace {

// Takes the first token off; the rest is empty after the last.
std::string_view take_token(std::string_view& text) {
  const auto dot = text.find('.');
  const auto token = text.substr(0, dot);
  text = dot == std::string_view::npos ? std::string_view{} : text.substr(dot + 1);
  return token;
}

}  // namespace

bool is_valid_pattern(std::string_view pattern) {
  if (pattern.empty() || pattern.ends_with('.')) return false;
  while (!pattern.empty()) {
    const auto token = take_token(pattern);
    if (token.empty()) return false;
    if (token == ">" && !pattern.empty()) return false;
    const bool wildcard = token == ">" || token == "*";
    if (!wildcard && token.find_first_of(" \t\r\n*>") != std::string_view::npos) return false;
  }
  return true;
}

bool matches(std::string_view pattern, std::string_view subject) {
  while (!pattern.empty() && !subject.empty()) {
    const auto wanted = take_token(pattern);
    const auto token = take_token(subject);
    if (wanted == ">") return true;
    if (wanted != "*" && wanted != token) return false;
  }
  return pattern.empty() && subject.empty();
}

Share share_of(std::string_view pattern, std::string_view of) {
  Share share = Share::kAll;
  while (!pattern.empty() && !of.empty()) {
    const auto wanted = take_token(pattern);
    const auto token = take_token(of);
    if (wanted == ">") return share;
    if (token == ">") return Share::kPart;
    if (wanted == "*" || wanted == token) continue;
    if (token != "*") return Share::kNone;
    share = Share::kPart;
  }
  return pattern.empty() && of.empty() ? share : Share::kNone;
}

}  // namespace postrider
