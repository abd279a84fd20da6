// Folds a batch's changes of one table by key, so that each row is written once. Pure.
//
// What is left says the same as the changes in their order, provided that the target is where the
// changes begin: deletes, then patches, then upserts. It works for keys whose equal values have
// several texts (numeric 1.0 and 1.00), too: of such, at most one is alive at the end, and it is
// written whole, after all deletes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "readmodel/replica/change.h"

namespace postrider::replica {

struct Folded {
  bool truncated = false;      // first of all
  std::vector<Cells> deletes;  // only their key counts
  std::vector<Cells> patches;  // of rows that the target has: columns that are absent stay
  std::vector<Cells> upserts;  // whole rows, in the order of their last changes
  // Of them: so many, one after the other, that were made here, or not.
  struct Run {
    bool is_new = false;
    std::size_t rows = 0;
  };
  std::vector<Run> runs;
  std::vector<Cells> appends;  // of a table without key, in their order
  std::uint64_t missing = 0;   // patches of rows that cannot be there

  [[nodiscard]] bool empty() const {
    return !truncated && deletes.empty() && patches.empty() && upserts.empty() && appends.empty();
  }
};

class TableFold {
 public:
  // Indexes of the key's columns; none for a table without key. `moves_alone`: a row whose key
  // changes must be updated in place, because other tables refer to it.
  explicit TableFold(std::vector<std::size_t> key, bool moves_alone = false)
      : key_(std::move(key)), moves_alone_(moves_alone) {}

  // False when the change cannot be folded: take() must be written, then the change by itself. So
  // it is with updates and deletes in a table without key, and with a key change that leaves
  // columns out which only the target knows.
  // The key's cells must be present: of the row, and of the old row where there is one.
  [[nodiscard]] bool add(const Change& change);

  // What is folded so far; it is empty afterwards.
  [[nodiscard]] Folded take();

 private:
  enum class State : std::uint8_t { kDeleted, kPatched, kWhole };
  struct Entry {
    State state = State::kDeleted;
    bool replaced = false;  // deleted before it was made anew
    bool is_new = false;    // the first that is heard of it is how it was made
    std::uint64_t order = 0;
    Cells cells;
  };

  [[nodiscard]] bool add_without_key(const Change& change);
  [[nodiscard]] bool update(const Change& change);
  [[nodiscard]] bool move(const Change& change);
  void erase(const Cells& old);
  void upsert(const Cells& row, bool is_made = false);
  void patch(const Cells& row);
  [[nodiscard]] std::string key_of(const Cells& cells) const;

  std::vector<std::size_t> key_;
  bool moves_alone_;
  std::unordered_map<std::string, Entry> entries_;
  std::vector<Cells> appends_;
  bool truncated_ = false;
  std::uint64_t missing_ = 0;
  std::uint64_t order_ = 0;
};

// True when an update gives its row another key.
[[nodiscard]] bool changes_key(const Change& change, const std::vector<std::size_t>& key);

}  // namespace postrider::replica
