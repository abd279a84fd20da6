// A libpq connection of the campaign's own. Not thread-safe.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace postrider::campaign {

// `connection_lost`: what the statement did is not known. Else the server said that it did nothing.
struct SqlError : std::runtime_error {
  SqlError(const std::string& text, bool lost, std::string state)
      : std::runtime_error(text), connection_lost(lost), sqlstate(std::move(state)) {}
  bool connection_lost;
  std::string sqlstate;
};

using SqlRow = std::vector<std::string>;

class Sql {
 public:
  // Throws SqlError when there is no connection.
  explicit Sql(const std::string& conninfo);

  // The rows of the last statement of `text`; NULL is "". Throws SqlError.
  std::vector<SqlRow> rows(const std::string& text);
  // The first column of the first row; "" when there is none.
  std::string value(const std::string& text);
  void run(const std::string& text) { (void)rows(text); }

  [[nodiscard]] PGconn* raw() const { return raw_.get(); }

 private:
  std::unique_ptr<PGconn, decltype(&PQfinish)> raw_;
};

}  // namespace postrider::campaign
