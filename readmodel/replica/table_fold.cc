#include "readmodel/replica/table_fold.h"

#include <algorithm>
#include <utility>

namespace postrider::replica {

Cells merged(const Cells& older, const Cells& newer) {
  Cells cells = newer;
  for (std::size_t i = 0; i < cells.size() && i < older.size(); ++i)
    if (!cells[i].present()) cells[i] = older[i];
  return cells;
}

bool changes_key(const Change& change, const std::vector<std::size_t>& key) {
  if (change.op != Op::kUpdate || change.old.empty()) return false;
  return std::ranges::any_of(key, [&](std::size_t i) { return change.row[i] != change.old[i]; });
}

std::string TableFold::key_of(const Cells& cells) const {
  if (key_.size() == 1) return std::string(cells[key_.front()].json);
  std::string text;
  for (const std::size_t i : key_) {
    text += std::to_string(cells[i].json.size());
    text += ':';
    text += cells[i].json;
  }
  return text;
}

bool TableFold::add(const Change& change) {
  ++order_;
  if (change.op == Op::kTruncate) {
    // Whatever came before is gone with it.
    entries_.clear();
    appends_.clear();
    truncated_ = true;
    return true;
  }
  if (key_.empty()) return add_without_key(change);
  switch (change.op) {
    case Op::kInsert:
    case Op::kRead:
      upsert(change.row, /*is_made=*/true);
      return true;
    case Op::kDelete:
      erase(change.old);
      return true;
    default:
      return update(change);
  }
}

bool TableFold::add_without_key(const Change& change) {
  if (change.op != Op::kInsert && change.op != Op::kRead) return false;
  appends_.push_back(change.row);
  return true;
}

bool TableFold::update(const Change& change) {
  if (changes_key(change, key_)) return move(change);
  if (change.complete)
    upsert(change.row);
  else
    patch(change.row);
  return true;
}

bool TableFold::move(const Change& change) {
  if (moves_alone_) return false;
  if (change.complete) {
    erase(change.old);
    upsert(change.row);
    return true;
  }
  const auto found = entries_.find(key_of(change.old));
  if (found == entries_.end()) {
    if (!truncated_) return false;
    ++missing_;
    return true;
  }
  switch (found->second.state) {
    case State::kDeleted:
      ++missing_;
      return true;
    case State::kPatched:
      return false;
    case State::kWhole:
      break;
  }
  const Cells row = merged(found->second.cells, change.row);
  erase(change.old);
  upsert(row);
  return true;
}

void TableFold::erase(const Cells& old) {
  Entry& entry = entries_[key_of(old)];
  entry = {State::kDeleted, false, false, order_, old};
}

void TableFold::upsert(const Cells& row, bool is_made) {
  const auto [found, is_new] = entries_.try_emplace(key_of(row));
  Entry& entry = found->second;
  if (is_new) {
    entry = {State::kWhole, false, is_made, order_, row};
  } else if (entry.state == State::kDeleted) {
    entry = {State::kWhole, true, false, order_, row};
  } else {
    entry = {State::kWhole, entry.replaced, entry.is_new, order_, merged(entry.cells, row)};
  }
}

void TableFold::patch(const Cells& row) {
  const auto [found, is_new] = entries_.try_emplace(key_of(row));
  Entry& entry = found->second;
  if (is_new && !truncated_) {
    entry = {State::kPatched, false, false, order_, row};
  } else if (is_new) {
    entries_.erase(found);
    ++missing_;
  } else if (entry.state == State::kDeleted) {
    ++missing_;
  } else {
    entry.cells = merged(entry.cells, row);
    entry.order = order_;
  }
}

Folded TableFold::take() {
  std::vector<Entry*> entries;
  entries.reserve(entries_.size());
  for (auto& [key, entry] : entries_) entries.push_back(&entry);
  std::ranges::sort(entries, {}, [](const Entry* entry) { return entry->order; });
  Folded folded;
  folded.truncated = truncated_;
  folded.missing = missing_;
  for (Entry* entry : entries) {
    switch (entry->state) {
      case State::kDeleted:
        if (!truncated_) folded.deletes.push_back(std::move(entry->cells));
        break;
      case State::kPatched:
        folded.patches.push_back(std::move(entry->cells));
        break;
      case State::kWhole: {
        // A column that the events do not carry begins anew with its row.
        const bool has_absent =
            std::ranges::any_of(entry->cells, [](const Cell& cell) { return !cell.present(); });
        if (entry->replaced && has_absent && !truncated_) folded.deletes.push_back(entry->cells);
        folded.upserts.push_back(std::move(entry->cells));
        if (folded.runs.empty() || folded.runs.back().is_new != entry->is_new)
          folded.runs.push_back({entry->is_new, 0});
        ++folded.runs.back().rows;
        break;
      }
    }
  }
  folded.appends = std::exchange(appends_, {});
  entries_.clear();
  truncated_ = false;
  missing_ = 0;
  return folded;
}

}  // namespace postrider::replica
