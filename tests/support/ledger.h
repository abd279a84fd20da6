// A read model that a setup file makes: each event once in a row, and counted in another table. So
// a reader sees in one statement whether two tables are of one moment, and whether they agree with
// the cursor.
#pragma once

#include <atomic>
#include <string>
#include <thread>

#include "tests/support/readmodel_world.h"

namespace postrider::test {

class LedgerWorld : public ReadModelWorld {
 protected:
  // Makes the read model "ledger" of the configuration and its setup file.
  LedgerWorld();

  // The configuration with `keys` more in [[readmodel]] and `more` appended.
  [[nodiscard]] std::filesystem::path ledger_config(const std::string& keys = {},
                                                    const std::string& more = {},
                                                    const std::string& name = "ledger");
  void write_setup(const std::string& sql) const;
  std::unique_ptr<RelayProcess> apply(const std::vector<std::string>& arguments = {},
                                      const std::string& failpoints = {},
                                      const std::string& name = "ledger");
  // Runs `postrider apply ARGUMENTS` to its end; output() has what it said.
  int command(const std::vector<std::string>& arguments);
  // Emits single events of these keys, a transaction each.
  void emit(const std::vector<std::string>& keys);
  // Waits until read model `name` is at `ordinal` at least.
  [[nodiscard]] bool applied(std::uint64_t ordinal, const std::string& name = "ledger");
  [[nodiscard]] bool target_says(const std::string& query, const std::string& expected);
  // Each event of the stream is there once, counted once.
  void expect_exact();

  static const std::string kSetup;
};

// Reads all the time: in single statements, simple and prepared, and in transactions that keep
// their snapshot. Any error is a problem, and so is whatever is not of one moment or older than
// before.
class LedgerReader {
 public:
  explicit LedgerReader(std::string conninfo);
  ~LedgerReader();
  [[nodiscard]] std::string stop();
  [[nodiscard]] long reads() const { return reads_; }

 private:
  void run();

  std::string conninfo_;
  std::atomic<bool> stop_{false};
  std::atomic<long> reads_{0};
  std::string problem_;
  std::thread thread_;
};

}  // namespace postrider::test
