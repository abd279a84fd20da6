#include "tests/faults/campaign/sql.h"

namespace postrider::campaign {

Sql::Sql(const std::string& conninfo)
    : raw_(PQconnectdb((conninfo + " connect_timeout=10").c_str()), &PQfinish) {
  if (PQstatus(raw_.get()) != CONNECTION_OK) throw SqlError(PQerrorMessage(raw_.get()), true, "");
  PQsetNoticeProcessor(
      raw_.get(), [](void*, const char*) {}, nullptr);
}

std::vector<SqlRow> Sql::rows(const std::string& text) {
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(raw_.get(), text.c_str()),
                                                             &PQclear);
  const auto status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
    throw SqlError(text.substr(0, 200) + ": " + PQerrorMessage(raw_.get()),
                   PQstatus(raw_.get()) != CONNECTION_OK, state == nullptr ? "" : state);
  }
  std::vector<SqlRow> rows(static_cast<std::size_t>(PQntuples(result.get())));
  for (std::size_t row = 0; row < rows.size(); ++row)
    for (int column = 0; column < PQnfields(result.get()); ++column)
      rows[row].emplace_back(PQgetvalue(result.get(), static_cast<int>(row), column));
  return rows;
}

std::string Sql::value(const std::string& text) {
  const auto all = rows(text);
  return all.empty() || all[0].empty() ? "" : all[0][0];
}

}  // namespace postrider::campaign
