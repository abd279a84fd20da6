// A world with replicas: tables of the source, captured, and read model "copy" in the second
// cluster that holds the same tables.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/readmodel_world.h"

namespace postrider::test {

class ReplicaWorld : public ReadModelWorld {
 protected:
  // Without the other worlds' tables in the source: "public.*" are the test's.
  ReplicaWorld();

  // The configuration from now on: [[capture]] and [[replica]] tables, and keys of the read model.
  // Migrates the source.
  void replicate(const std::string& captures, const std::string& replicas,
                 const std::string& readmodel_keys = {});
  [[nodiscard]] std::string replica_config(const std::string& name);
  std::unique_ptr<RelayProcess> start(const std::string& command,
                                      const std::string& failpoints = {},
                                      const std::vector<std::string>& arguments = {});
  // Runs the relay, then the applier, until both are caught up; the applier's exit code.
  int carry();
  [[nodiscard]] std::string applied_log() const { return applied_log_; }
  // `postrider verify copy`; what it said is in output().
  int verify();
  // The rows of a table as PostgreSQL prints them, sorted.
  [[nodiscard]] static std::string rows(const std::string& table);
  // True when the table has the same rows on both sides, as text of PostgreSQL's.
  void expect_same(const std::string& table);

 private:
  std::string captures_;
  std::string replicas_;
  std::string readmodel_keys_;
  std::string applied_log_;
  int processes_ = 0;
};

}  // namespace postrider::test
