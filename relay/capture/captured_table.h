// A captured table as the WAL describes it at one moment, under one rule: turns its row changes
// into events. Pure, and deterministic: what it writes is a function of the WAL and the rule.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "postrider/position.h"
#include "relay/capture/captured_columns.h"
#include "relay/capture/subject_template.h"
#include "relay/progress/capture_rule.h"
#include "relay/transaction/outbox_event.h"
#include "relay/wire/pgoutput.h"

namespace postrider {

enum class RowOp {
  kInsert,
  kUpdate,
  kDelete,
  kTruncate,
  kRead,  // a row that was there already, by a backfill
};
[[nodiscard]] const char* to_string(RowOp op);

// One change, as the formats write it. Views what the WAL message views.
struct RowChange {
  RowOp op = RowOp::kInsert;
  const wire::Tuple* row = nullptr;  // the new row, of an insert, update or read
  const wire::Tuple* old = nullptr;  // of an update or delete, where the WAL has it
  bool old_is_full = false;
  Lsn commit_lsn = {};
  Fingerprint fingerprint = {};
  std::string_view source = {};
};

class CapturedTable {
 public:
  // Keeps no reference to either.
  CapturedTable(const wire::Relation& relation, const CaptureRule& rule);

  // Writes the change into `event`, reusing its memory. kProtocol when a row has fewer values than
  // the table has columns.
  [[nodiscard]] Result<void> write(RowChange change, OutboxEvent& event);

  [[nodiscard]] const std::string& schema() const { return schema_; }
  [[nodiscard]] const std::string& name() const { return name_; }
  // The carried columns, in the table's order.
  [[nodiscard]] const std::vector<CapturedColumn>& columns() const { return columns_; }

  // The value of a carried column, in the new row or, where that leaves it unchanged, in a full old
  // one. kUnchangedToast when neither says. Of rows whose values are replaced, where they must be.
  [[nodiscard]] wire::Value value_of(const RowChange& change, const CapturedColumn& column) const;
  // The same of the old row.
  [[nodiscard]] wire::Value old_value_of(const RowChange& change,
                                         const CapturedColumn& column) const;
  // True when the old row of `change` says something about the column.
  [[nodiscard]] static bool has_old(const RowChange& change, const CapturedColumn& column) {
    return change.old != nullptr && (change.old_is_full || column.key);
  }

 private:
  void write_key(const RowChange& change, OutboxEvent& event) const;
  void write_subject(const RowChange& change, OutboxEvent& event) const;
  [[nodiscard]] wire::Value newest_value_of(const RowChange& change,
                                            const CapturedColumn& column) const;

  std::string schema_;
  std::string name_;
  RowFormat format_;
  bool tombstones_;
  [[nodiscard]] const SubjectTemplate& subject_of(const RowChange& change) const;
  // The newest value that the change tells of a column, by the table's own name of it.
  [[nodiscard]] std::optional<std::string_view> text_of(const RowChange& change,
                                                        std::string_view own_name) const;

  SubjectTemplate subject_;
  std::string subject_column_;
  std::map<std::string, SubjectTemplate, std::less<>> subjects_;  // by its value
  std::size_t width_;                                             // of the tuples
  bool has_key_ = false;
  bool has_replaced_ = false;
  std::string hash_salt_;
  std::vector<CapturedColumn> columns_;
  ReplacedRow row_;
  ReplacedRow old_;
};

}  // namespace postrider
