// An outbox table of another tool as the WAL describes it at one moment: its inserts are events.
// Updates and deletes are none: the service deletes its rows when it likes. Pure, and
// deterministic.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "relay/capture/subject_template.h"
#include "relay/progress/outbox_rule.h"
#include "relay/transaction/outbox_event.h"
#include "relay/wire/pgoutput.h"

namespace postrider {

class ExistingOutbox {
 public:
  // Keeps no reference to either. A column that the table lacks is found by each row.
  ExistingOutbox(const wire::Relation& relation, const OutboxRule& rule);

  // Reads an inserted row into `event`, reusing its memory. The payload is what the column holds:
  // the bytes of a bytea, else PostgreSQL's text; empty for NULL. Id, key, type and header_columns
  // are percent-encoded where a header cannot hold them (control characters, blanks at the ends,
  // %), and left out where they are empty. kMalformedEvent for a row without id, with NULL in a
  // column of the subject, or of a table that lacks a column.
  [[nodiscard]] Result<void> read(const wire::Tuple& row, OutboxEvent& event) const;

 private:
  struct Column {
    std::string name;
    std::optional<std::size_t> index = {};  // nothing: the table has none of that name
    std::uint32_t type = 0;
  };
  [[nodiscard]] Result<void> write_subject(const wire::Tuple& row, OutboxEvent& event) const;
  void write_headers(const wire::Tuple& row, OutboxEvent& event) const;
  [[nodiscard]] Result<void> write_payload(const wire::Tuple& row, OutboxEvent& event) const;
  [[nodiscard]] tl::unexpected<Error> malformed(const OutboxEvent& event,
                                                const std::string& what) const;

  std::string schema_;
  std::string name_;
  std::vector<Column> columns_;  // of the table
  SubjectTemplate subject_;
  std::string content_type_;
  Column id_;
  Column payload_;
  std::optional<Column> key_;
  std::optional<Column> type_;
  std::optional<Column> headers_;
  std::vector<std::pair<std::string, Column>> header_columns_;
  std::optional<std::string> missing_;  // a column that the rule names
  std::size_t width_;                   // of the tuples
};

}  // namespace postrider
