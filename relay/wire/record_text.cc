#include "relay/wire/record_text.h"

namespace postrider::wire {

Result<void> RecordReader::next(Tuple& row) {
  row.clear();
  unescaped_.clear();
  const auto unreadable = [] { return fail(ErrorKind::kProtocol, "a record's text is cut short"); };
  if (!rest_.starts_with('(')) return unreadable();
  while (true) {
    rest_.remove_prefix(1);  // the parenthesis, or a comma
    if (!read_field(row.emplace_back()) || rest_.empty()) return unreadable();
    if (rest_.front() == ',') continue;
    if (rest_.front() != ')') return unreadable();
    rest_.remove_prefix(1);
    return {};
  }
}

bool RecordReader::read_field(Value& value) {
  if (!rest_.starts_with('"')) {
    const auto end = rest_.find_first_of(",)");
    if (end == std::string_view::npos) return false;
    if (end > 0) value = {Value::Kind::kText, rest_.substr(0, end)};
    rest_.remove_prefix(end);
    return true;
  }
  rest_.remove_prefix(1);
  auto stop = rest_.find_first_of("\"\\");
  if (stop == std::string_view::npos) return false;
  if (rest_[stop] == '"' && !rest_.substr(stop + 1).starts_with('"')) {
    value = {Value::Kind::kText, rest_.substr(0, stop)};
    rest_.remove_prefix(stop + 1);
    return true;
  }
  if (unescaped_.empty()) unescaped_.reserve(rest_.size());
  const std::size_t begin = unescaped_.size();
  while (stop != std::string_view::npos) {
    const bool doubled = stop + 1 < rest_.size() && rest_[stop + 1] == rest_[stop];
    unescaped_.append(rest_.substr(0, stop));
    if (!doubled) {
      if (rest_[stop] != '"') return false;
      rest_.remove_prefix(stop + 1);
      value = {Value::Kind::kText, std::string_view(unescaped_).substr(begin)};
      return true;
    }
    unescaped_ += rest_[stop];
    rest_.remove_prefix(stop + 2);
    stop = rest_.find_first_of("\"\\");
  }
  return false;
}

}  // namespace postrider::wire
