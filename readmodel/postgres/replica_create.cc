#include "readmodel/postgres/replica_create.h"

#include <map>
#include <utility>

#include "base/error.h"
#include "base/postgres/conninfo.h"
#include "readmodel/postgres/source_catalog.h"
#include "readmodel/postgres/target_catalog.h"
#include "readmodel/postgres/translate.h"

namespace postrider {

std::vector<ReplicaDefinition> create_replicas(const replica::Options& options,
                                               const std::string& target_conninfo,
                                               bool print_only) {
  const auto tables = SourceCatalog(options.source_conninfo).all();
  return translated([&] {
    pqxx::connection connection(with_defaults(target_conninfo, liveness_defaults()));
    pqxx::work tx(connection);
    tx.exec("SET client_min_messages = warning");
    std::vector<ReplicaDefinition> definitions;
    std::map<std::pair<std::string, std::string>, std::string> sources;
    for (const auto& table : tables) {
      const auto carried = replica::carried_of(options, table.schema, table.name);
      if (!carried) continue;
      const auto* rule = replica::find_rule(options, table.schema, table.name, *carried).rule;
      if (rule == nullptr) continue;
      ReplicaDefinition& definition = definitions.emplace_back();
      definition.source = table.schema + "." + table.name;
      definition.target = rule->schema + "." + table.name;
      const auto [other, is_new] =
          sources.emplace(std::pair(rule->schema, table.name), definition.source);
      if (!is_new)
        throw Failure(ErrorKind::kReplicaTable,
                      "rows of " + definition.source + " and of " + other->second +
                          " would both go into " + definition.target,
                      "give one of them another replica.schema, in a [[replica]] of its own");
      if (find_target_table(tx, rule->schema, table.name)) continue;
      require_types(tx, table, *carried);
      definition.statement = create_table(table, rule->schema, *carried);
      if (!print_only) define(tx, definition.statement);
    }
    if (!print_only) tx.commit();
    return definitions;
  });
}

}  // namespace postrider
