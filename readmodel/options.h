// Everything that an applier is told about one read model. Filled by daemon/ from [[readmodel]], or
// by a C++ service; every default and its reason is in docs/operating.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/jetstream/nats_options.h"
#include "postrider/lsn.h"

namespace postrider {

enum class OnPoison : std::uint8_t {
  kStop,  // this read model waits for a person
  kPark,  // the whole source transaction is set aside, and the read model goes on
};

struct ReadModelOptions {
  std::string name;
  std::string source;           // first token of its subjects
  std::string stream;           // JetStream stream
  std::string target_conninfo;  // libpq, of the applier's role
  std::string schema = "public";
  std::string setup_file;  // where setup_sql stands, for messages
  std::string setup_sql;   // makes its tables in `schema`; empty: they are made by hand
  NatsOptions nats;
  OnPoison on_poison = OnPoison::kStop;

  std::size_t batch_events = 2000;  // at most so many in one target transaction, but always one
                                    // source transaction
  std::size_t batch_bytes = 4UL * 1024 * 1024;
  std::chrono::milliseconds takeover_after{4'000};
  std::chrono::milliseconds backoff{50};  // after the first failure; doubles
  std::chrono::milliseconds max_backoff{5'000};
  double retention_warning = 0.5;  // of the stream's max_age
  bool until_caught_up = false;    // end once everything in the stream at the start is applied
};

}  // namespace postrider
