// The repeated tables of the configuration file: [[readmodel]], [[projection]],
// [[replica]] and [[verify]].
#pragma once

#include <toml++/toml.h>
#include <string>
#include <vector>

#include "readmodel/options.h"
#include "readmodel/replica/rules.h"
#include "readmodel/verify/comparison.h"

namespace postrider {

struct ProjectionConfig {
  std::string where;  // file:line, for messages
  std::string readmodel;
  std::string subjects;  // NATS subject pattern, beginning with the source's name
  std::string function;  // in the target database
};

struct ReplicaConfig {
  std::string where;
  std::string readmodel;
  replica::Rule rule;
};

struct VerifyConfig {
  std::string where;
  std::string readmodel;
  Comparison comparison;
};

struct ReadModelConfig {
  std::string where;
  ReadModelOptions options;
  std::vector<ProjectionConfig> projections;  // in the order of the file
  replica::Options replicas;                  // rules in the order of the file
  std::vector<Comparison> comparisons;        // what verify compares, in the order of the file
};

struct ReadModelTables {
  std::vector<ReadModelConfig> readmodels;
  std::vector<ProjectionConfig> projections;
  std::vector<ReplicaConfig> replicas;
  std::vector<VerifyConfig> comparisons;
};

// Reads one table of section "readmodel", "projection", "replica" or "verify". `path` is the
// file's. Throws Failure(kConfiguration).
void read_repeated_table(const std::string& path, const std::string& section,
                         const toml::table& table, ReadModelTables& into);

// What the single tables cannot say: each projection and replica finds its read model, and what a
// read model does not set comes from `defaults`.
[[nodiscard]] std::vector<ReadModelConfig> complete(ReadModelTables tables,
                                                    const ReadModelOptions& defaults);

// Its options with setup_sql read from setup_file, where there is one. Throws
// Failure(kConfiguration) when the file cannot be read.
[[nodiscard]] ReadModelOptions with_setup(const ReadModelConfig& config);

}  // namespace postrider
