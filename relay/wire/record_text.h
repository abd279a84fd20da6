// PostgreSQL's text of a record, `(1,"a ""b""",)`, taken apart: what ROW(...)::text writes. Pure.
//
// Fields are parted by commas. An empty field is NULL; a quoted one holds its text, in which a
// doubled quote or backslash stands for one.
// Source: PostgreSQL documentation, "Composite Type Input and Output Syntax"; rowtypes.c.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "relay/wire/pgoutput.h"

namespace postrider::wire {

class RecordReader {
 public:
  // `text` holds any number of records, one directly after another, and must outlive this.
  explicit RecordReader(std::string_view text) : rest_(text) {}

  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  // Reads the next record into `row`, whose values view `text` or this reader until the next call.
  // kProtocol for text that is no record.
  [[nodiscard]] Result<void> next(Tuple& row);

 private:
  // True when a field was read; `rest_` then begins with what ends it.
  bool read_field(Value& value);

  std::string_view rest_;
  std::string unescaped_;  // of the record at hand; never grows while it is viewed
};

}  // namespace postrider::wire
