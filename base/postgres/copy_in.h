// COPY ... FROM STDIN, which libpqxx 6.4 (Debian 12) and 7.10 (Debian 13) write in different ways.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/postgres/sql.h"
#if PQXX_VERSION_MAJOR < 7
#include <pqxx/tablewriter>
#endif

namespace postrider::sql {

// In the transaction, which runs nothing else until complete(). What the server refuses, complete()
// throws at the latest.
class CopyIn {
 public:
  // One value for each column, as its type's input function takes it; nothing: NULL.
  using Row = std::vector<std::optional<std::string_view>>;

// Names as SQL has them, quoted where they must be; columns with commas between them.
#if PQXX_VERSION_MAJOR >= 7
  CopyIn(pqxx::transaction_base& tx, const std::string& table, const std::string& columns)
      : stream_(pqxx::stream_to::raw_table(tx, table, columns)) {}
  void row(const Row& row) {
    stream_.write_row(row);
  }
  void complete() {
    stream_.complete();
  }

 private:
  pqxx::stream_to stream_;
#else
// Its stream_to takes only tuples.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  CopyIn(pqxx::transaction_base& tx, const std::string& table, const std::string& columns)
      : stream_(tx, table, &columns, &columns + 1) {}
#pragma GCC diagnostic pop
  void row(const Row& row) {
    line_.clear();
    for (const auto& value : row) {
      if (value)
        append_escaped(*value);
      else
        line_ += "\\N";
      line_ += '\t';
    }
    line_.pop_back();
    stream_.write_raw_line(line_);
  }
  void complete() {
    stream_.complete();
  }

 private:
  void append_escaped(std::string_view value) {
    while (true) {
      const auto at = value.find_first_of("\\\t\n\r");
      line_ += value.substr(0, at);
      if (at == std::string_view::npos) return;
      const char c = value[at];
      line_ += '\\';
      line_ += c == '\t' ? 't' : c == '\n' ? 'n' : c == '\r' ? 'r' : '\\';
      value.remove_prefix(at + 1);
    }
  }
  pqxx::tablewriter stream_;
  std::string line_;
#endif
};

}  // namespace postrider::sql
