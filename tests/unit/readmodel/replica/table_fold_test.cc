#include "readmodel/replica/table_fold.h"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <map>
#include <optional>
#include <random>

namespace postrider::replica {
namespace {

// Columns: key k1, k2; values a, b; and x, which no event carries.
constexpr std::size_t kColumns = 5;
constexpr std::size_t kCarried = 4;
const std::vector<std::size_t> kKey = {0, 1};
using Key = std::pair<std::string, std::string>;
using Values = std::array<std::string, kColumns>;
// A table, as a row-by-row applier keeps it.
using Table = std::map<Key, Values>;
constexpr const char* kDefault = "default";

Key key_of(const Cells& cells) {
  return {std::string(cells[0].json), std::string(cells[1].json)};
}

void put(Table& table, const Cells& row) {
  auto [found, is_new] = table.try_emplace(key_of(row));
  if (is_new) found->second.fill(kDefault);
  for (std::size_t i = 0; i < kColumns; ++i)
    if (row[i].present()) found->second[i] = row[i].json;
}

bool move_row(Table& table, const Cells& old, const Cells& row) {
  auto node = table.extract(key_of(old));
  if (node.empty()) return false;
  Values values = node.mapped();
  for (std::size_t i = 0; i < kColumns; ++i)
    if (row[i].present()) values[i] = row[i].json;
  table.insert_or_assign(key_of(row), values);
  return true;
}

// What docs/replicas.md says of one change; false when it found no row.
bool apply(Table& table, const Change& change) {
  switch (change.op) {
    case Op::kTruncate:
      table.clear();
      return true;
    case Op::kDelete:
      table.erase(key_of(change.old));
      return true;
    case Op::kInsert:
    case Op::kRead:
      put(table, change.row);
      return true;
    case Op::kUpdate:
      break;
  }
  const bool moves = changes_key(change, kKey);
  if (change.complete) {
    if (moves) table.erase(key_of(change.old));
    put(table, change.row);
    return true;
  }
  return move_row(table, moves ? change.old : change.row, change.row);
}

void apply(Table& table, const Folded& folded) {
  if (folded.truncated) table.clear();
  for (const auto& row : folded.deletes) table.erase(key_of(row));
  for (const auto& row : folded.patches) (void)move_row(table, row, row);
  for (const auto& row : folded.upserts) put(table, row);
}

// A source table that changes at random, seen by a replica that may lack rows of it.
class Source {
 public:
  explicit Source(unsigned seed) : random_(seed) {}

  Change next() {
    switch (random_() % 12) {
      case 0:
        if (random_() % 8 != 0) break;
        rows_.clear();
        return {Op::kTruncate, {}, {}, true};
      case 1:
      case 2:
      case 3: {
        if (auto row = any_row()) {
          Change change{Op::kDelete, {}, key_cells(row->first), true};
          rows_.erase(row->first);
          return change;
        }
        break;
      }
      case 4:
      case 5:
        if (auto row = any_row()) return {Op::kRead, whole(row->second), {}, true};
        break;
      case 6:
      case 7:
      case 8:
        if (auto row = any_row()) return update(*row, row->first);
        break;
      case 9:
      case 10: {
        const Key key = any_key();
        if (rows_.contains(key)) break;
        if (auto row = any_row()) return update(*row, key);
        break;
      }
      default:
        break;
    }
    return insert_or_update();
  }

 private:
  Key any_key() { return {text(random_() % 5), text(random_() % 2)}; }
  std::optional<std::pair<Key, Values>> any_row() {
    if (rows_.empty()) return std::nullopt;
    return *std::next(rows_.begin(), static_cast<std::ptrdiff_t>(random_() % rows_.size()));
  }
  Change insert_or_update() {
    const Key key = any_key();
    if (const auto found = rows_.find(key); found != rows_.end()) return update(*found, key);
    Values row{key.first, key.second, value(), value(), ""};
    rows_[key] = row;
    return {Op::kInsert, whole(row), {}, true};
  }
  // Some updates leave b out, as a large value that was not touched.
  Change update(std::pair<Key, Values> row, const Key& to) {
    rows_.erase(row.first);
    const bool complete = random_() % 2 == 0;
    Values values = row.second;
    values[0] = to.first;
    values[1] = to.second;
    values[2] = value();
    if (complete) values[3] = value();
    rows_[to] = values;
    Change change{Op::kUpdate, whole(values), {}, complete};
    if (!complete) change.row[3] = {};
    // With a full old row there is one for each update.
    if (to != row.first || random_() % 3 == 0) change.old = key_cells(row.first);
    return change;
  }
  Cells whole(const Values& values) {
    Cells cells(kColumns);
    for (std::size_t i = 0; i < kCarried; ++i) cells[i] = cell(values[i]);
    return cells;
  }
  Cells key_cells(const Key& key) {
    Cells cells(kColumns);
    cells[0] = cell(key.first);
    cells[1] = cell(key.second);
    return cells;
  }
  Cell cell(const std::string& json) {
    return {Cell::Kind::kValue, texts_.emplace_back(json)};  // a deque's elements stay
  }
  std::string text(std::uint64_t n) { return std::to_string(n); }
  std::string value() { return "v" + std::to_string(++values_); }

  std::mt19937 random_;
  std::map<Key, Values> rows_;
  std::deque<std::string> texts_;
  int values_ = 0;
};

TEST(TableFold, OfRandomChangesIsWhatTheyDoOneByOne) {
  int alone = 0;
  std::uint64_t missing = 0;
  std::size_t written = 0;
  std::size_t changes = 0;
  for (unsigned seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Source source(seed);
    Table replica;
    Table model;
    std::mt19937 random(seed);
    for (int i = static_cast<int>(random() % 20); i > 0; --i) {
      const Change before = source.next();  // some rows come later, by a backfill
      if (random() % 2 == 0) continue;
      (void)apply(model, before);
    }
    replica = model;
    TableFold fold(kKey, random() % 4 == 0);
    std::uint64_t missing_in_model = 0;
    std::uint64_t missing_in_fold = 0;
    const auto flush = [&] {
      const Folded folded = fold.take();
      missing_in_fold += folded.missing;
      for (const auto& row : folded.patches)
        if (!replica.contains(key_of(row))) ++missing_in_fold;
      written += folded.deletes.size() + folded.patches.size() + folded.upserts.size();
      apply(replica, folded);
    };
    for (int i = 0; i < 40; ++i) {
      const Change change = source.next();
      ++changes;
      if (!apply(model, change)) ++missing_in_model;
      if (fold.add(change)) continue;
      ++alone;
      flush();
      if (!apply(replica, change)) ++missing_in_fold;
    }
    flush();
    ASSERT_EQ(replica, model);
    // Several of one row are one patch, and a later whole row makes up for it.
    EXPECT_LE(missing_in_fold, missing_in_model);
    missing += missing_in_fold;
  }
  EXPECT_GT(alone, 1000);
  EXPECT_GT(missing, 100U);
  EXPECT_LT(written, changes);
}

Cells row_of(std::initializer_list<const char*> values) {
  Cells cells;
  for (const char* value : values)
    cells.push_back(value == nullptr ? Cell{} : Cell{Cell::Kind::kValue, value});
  return cells;
}

TEST(TableFold, WritesARowOnceInTheOrderOfLastChanges) {
  TableFold fold({0});
  ASSERT_TRUE(fold.add({Op::kInsert, row_of({"1", "a"}), {}, true}));
  ASSERT_TRUE(fold.add({Op::kInsert, row_of({"2", "b"}), {}, true}));
  ASSERT_TRUE(fold.add({Op::kUpdate, row_of({"1", nullptr}), {}, false}));
  const auto folded = fold.take();
  ASSERT_EQ(folded.upserts.size(), 2U);
  EXPECT_EQ(folded.upserts[0], row_of({"2", "b"}));
  EXPECT_EQ(folded.upserts[1], row_of({"1", "a"})) << "what is unchanged stays";
  EXPECT_TRUE(fold.take().empty());
}

TEST(TableFold, TellsWhichRowsWereMadeHere) {
  TableFold fold({0});
  ASSERT_TRUE(fold.add({Op::kInsert, row_of({"1", "a"}), {}, true}));
  ASSERT_TRUE(fold.add({Op::kUpdate, row_of({"1", "b"}), {}, true}));
  ASSERT_TRUE(fold.add({Op::kRead, row_of({"2", "a"}), {}, true}));
  ASSERT_TRUE(fold.add({Op::kUpdate, row_of({"3", "a"}), {}, true}));
  ASSERT_TRUE(fold.add({Op::kInsert, row_of({"4", "a"}), {}, true}));
  // There before, as far as the target knows: deleted and made again, and moved.
  ASSERT_TRUE(fold.add({Op::kDelete, {}, row_of({"5", nullptr}), true}));
  ASSERT_TRUE(fold.add({Op::kInsert, row_of({"5", "a"}), {}, true}));
  ASSERT_TRUE(fold.add({Op::kUpdate, row_of({"7", "a"}), row_of({"6", nullptr}), true}));
  const auto folded = fold.take();
  ASSERT_EQ(folded.upserts.size(), 6U);
  std::string runs;
  for (const auto& run : folded.runs)
    runs += std::to_string(run.rows) + (run.is_new ? " new " : " not ");
  EXPECT_EQ(runs, "2 new 1 not 1 new 2 not ");
}

TEST(TableFold, OfATableWithoutKeyAppendsAndLeavesTheRestToTheCaller) {
  TableFold fold({});
  ASSERT_TRUE(fold.add({Op::kInsert, row_of({"1"}), {}, true}));
  ASSERT_TRUE(fold.add({Op::kTruncate, {}, {}, true}));
  ASSERT_TRUE(fold.add({Op::kRead, row_of({"2"}), {}, true}));
  ASSERT_TRUE(fold.add({Op::kRead, row_of({"2"}), {}, true}));
  EXPECT_FALSE(fold.add({Op::kDelete, {}, row_of({"2"}), true}));
  EXPECT_FALSE(fold.add({Op::kUpdate, row_of({"3"}), row_of({"2"}), true}));
  const auto folded = fold.take();
  EXPECT_TRUE(folded.truncated);
  EXPECT_EQ(folded.appends.size(), 2U);
}

}  // namespace
}  // namespace postrider::replica
