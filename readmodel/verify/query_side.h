// One side of a comparison: a query in a snapshot, hashed by ranges of its key, or read row by row.
//
// What is compared is the text of a row, as ROW(...)::text prints it under settings that are pinned
// here: NULL and the empty text differ, 1.0 and 1.00 differ, an int and a bigint of the same value
// do not. The server does the hashing, so only sums and differing rows cross the network.
//
// A QuerySide is a read-only transaction on a connection of its own. Not thread-safe; two of them
// may work at once. Throws Failure; kConfiguration for a query that the server refuses.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/postgres/sql.h"
#include "readmodel/verify/difference.h"
#include "readmodel/verify/ranges.h"

namespace postrider {

class QuerySide {
 public:
  // `schema` is put first in the search_path where it is not empty.
  QuerySide(const std::string& conninfo, std::string what, const std::string& schema);
  ~QuerySide();

  // Neither runs the query nor anything else for long: would the server accept it, has it the key?
  void check(const std::string& query, const std::vector<std::string>& key);

  // Begins the transaction whose snapshot everything below sees: an exported one, or that of its
  // first statement.
  void begin(const std::string& exported_snapshot = {});
  [[nodiscard]] pqxx::transaction_base& sql() { return *tx_; }

  // Locks what the query reads, as reading it does, until the transaction ends; and names the
  // tables, if any, that were truncated, rewritten or made since the snapshot: it sees them empty,
  // whatever they held. What functions of the query read is not looked at.
  [[nodiscard]] std::vector<std::string> lock(const std::string& query,
                                              const std::vector<std::string>& key);

  // Sums of the ranges named by the first `digits` hexadecimal digits of the key's hash, rising;
  // only of ranges that begin with one of `within`, if there are any.
  [[nodiscard]] std::vector<RangeSum> sums(const std::string& query,
                                           const std::vector<std::string>& key, std::size_t digits,
                                           const std::vector<std::string>& within);
  // The rows of these ranges, in the order that find_differences() wants. One at a time.
  [[nodiscard]] NextRow rows(const std::string& query, const std::vector<std::string>& key,
                             const std::vector<std::string>& ranges);

 private:
  std::string what_;
  std::unique_ptr<pqxx::connection> connection_;
  std::unique_ptr<pqxx::transaction_base> tx_;
};

}  // namespace postrider
