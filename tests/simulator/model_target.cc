#include "tests/simulator/model_target.h"

#include <algorithm>
#include <utility>

#include "tests/simulator/oracle.h"

namespace postrider::sim {

std::int64_t ModelTarget::connect() {
  sessions_[++last_id_].last_statement = now_;
  return last_id_;
}

ModelTarget::Session* ModelTarget::session(std::int64_t id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return nullptr;
  found->second.last_statement = now_;
  return &found->second;
}

void ModelTarget::close(std::int64_t id) {
  sessions_.erase(id);
  if (lock_holder_ == id) lock_holder_ = 0;
}

bool ModelTarget::try_lock(std::int64_t id) {
  if (lock_holder_ != 0 && lock_holder_ != id) return false;
  lock_holder_ = id;
  return true;
}

bool ModelTarget::end_dead_holder(std::chrono::milliseconds idle) {
  const auto holder = sessions_.find(lock_holder_);
  if (holder == sessions_.end() || now_ - holder->second.last_statement < idle) return false;
  close(lock_holder_);
  return true;
}

bool ModelTarget::row_is_locked(std::int64_t id) const {
  return std::ranges::any_of(sessions_, [&](const auto& other) {
    return other.first != id && other.second.open && other.second.open->cursor;
  });
}

bool ModelTarget::move(std::int64_t id, const Cursor& from, const Cursor& to) {
  auto& open = sessions_.at(id).open;
  if (!(open->cursor.value_or(cursor_) == from)) return false;
  open->cursor = to;
  return true;
}

void ModelTarget::commit(std::int64_t id) {
  auto& session = sessions_.at(id);
  const auto open = std::exchange(session.open, std::nullopt);
  if (!open->cursor) {
    if (!open->applied.empty()) oracle_.complain("events were applied without the cursor");
    return;
  }
  oracle_.on_applied(cursor_, *open->cursor, open->applied);
  cursor_ = *open->cursor;
  ++commits_;
}

void ModelTarget::crash() {
  sessions_.clear();
  lock_holder_ = 0;
}

}  // namespace postrider::sim
