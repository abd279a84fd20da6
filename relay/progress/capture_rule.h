// What the configuration says about captured tables: which ones, under which subjects, what of
// them. Rules are part of an epoch's settings, since they decide which messages there are and what
// they hold. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/table_pattern.h"

namespace postrider {

enum class RowFormat {
  kPostrider,  // docs/capture.md, "Row changes"
  kDebezium,   // the envelope of Debezium's JSON converter, without schema
};

struct CaptureRule {
  // Patterns of schema.table; '*' stands for any run of characters within the
  // schema's or the table's name. At least one.
  std::vector<std::string> tables;
  // NATS subject without the source's name. {schema}, {table}, {op}, {key} and {column:NAME} are
  // replaced by values, percent-encoded so that each stays within its token.
  std::string subject = "cdc.{schema}.{table}";
  RowFormat format = RowFormat::kPostrider;
  bool tombstones = false;  // of kDebezium: a delete is followed by a message without payload
  // Subjects, likewise, of rows with these values in a column; of all others, `subject`.
  std::string subject_column = {};
  std::map<std::string, std::string> subject_values = {};
  std::vector<std::string> columns = {};  // carried columns; empty: all
  std::vector<std::string> exclude = {};  // columns that never leave the relay
  std::vector<std::string> mask = {};  // columns whose values are replaced by "***", NULL excepted
  std::vector<std::string> hash =
      {};                      // columns whose values are replaced by their SHA-256, likewise
  std::string hash_salt = {};  // stands before each value that is hashed
  std::map<std::string, std::string> rename = {};  // the table's name of a column: the carried one
  // SQL expression over a row, of the publication; empty: all rows. Not part of an epoch: the WAL's
  // decoding knows which filter was in force at each commit.
  std::string where = {};

  // Rows that a table holds when it is captured first are sent, once. Not part of an epoch either.
  bool backfill = false;

  friend bool operator==(const CaptureRule& a, const CaptureRule& b) {
    return a.tables == b.tables && a.subject == b.subject && a.subject_column == b.subject_column &&
           a.subject_values == b.subject_values && a.format == b.format && a.columns == b.columns &&
           a.exclude == b.exclude && a.mask == b.mask && a.hash == b.hash &&
           a.hash_salt == b.hash_salt && a.rename == b.rename && a.tombstones == b.tombstones;
  }
};

// The first rule that names the table, or nullptr.
[[nodiscard]] const CaptureRule* find_rule(const std::vector<CaptureRule>& rules,
                                           std::string_view schema, std::string_view table);

// NATS subject patterns of the events of a table that the rule names: `*` stands where values of
// rows do.
[[nodiscard]] std::vector<std::string> subject_patterns(const CaptureRule& rule,
                                                        const std::string& source,
                                                        const std::string& schema,
                                                        const std::string& table);

// True for a column of the table that is carried, masked and hashed ones too.
[[nodiscard]] bool carries_column(const CaptureRule& rule, const std::string& column);

// The publication of the captured tables, beside `publication`, which holds the outbox alone and
// publishes inserts alone.
[[nodiscard]] inline std::string capture_publication(const std::string& publication) {
  return publication + "_capture";
}

}  // namespace postrider
