// verify's side of the barrier: holds a read model, lets it run up to a place, lets it go.
//
// The hold is an advisory lock of this object's own connection, so it ends with the process,
// however that ends; and the server ends the connection when verify shows no life
// for longer than it ever waits for something else.
// One verify at a time holds a read model: another waits for it, at most `limit`.
//
// Not thread-safe. Throws Failure: kPostgresUnavailable also when a wait took longer than `limit`.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/postgres/sql.h"
#include "postrider/lsn.h"
#include "readmodel/progress/barrier.h"

namespace postrider {

class Hold {
 public:
  Hold(const std::string& target_conninfo, std::string readmodel, std::chrono::milliseconds limit);
  ~Hold();

  // Once it returns nothing is applied any more, by whomever. Returns the cursor's generation;
  // nothing when the read model has no cursor: it was never applied.
  [[nodiscard]] std::optional<std::int64_t> take();
  // Only transactions that commit before `point` are applied from now on.
  void let_run_to(std::uint32_t timeline, Lsn point);

  // ---- While waiting ----
  [[nodiscard]] bool reached();
  // Why it cannot get there, where that can be told: stopped by a poison event, nobody applies it.
  struct Obstacle {
    std::string why;
    bool passing = false;  // an applier may be about to start
  };
  [[nodiscard]] std::optional<Obstacle> obstacle();

  // The read model goes on. Doing it twice is doing it once.
  void release();

  // The cursor's generation now, also after release(): another one means that the read model was
  // swapped. Nothing when it is gone.
  [[nodiscard]] std::optional<std::int64_t> generation();

  // Names this hold in the cursor's row: a snapshot of the target in which the row says so, and
  // that the place is reached, is the state at the place.
  [[nodiscard]] const std::string& holder() const { return holder_; }

 private:
  const std::string readmodel_;
  const std::chrono::milliseconds limit_;
  std::unique_ptr<pqxx::connection> connection_;
  std::string holder_;
  bool held_ = false;
};

}  // namespace postrider
