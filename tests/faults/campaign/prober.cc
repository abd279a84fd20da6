#include "tests/faults/campaign/prober.h"

#include <chrono>

#include "dev/process.h"
#include "tests/faults/campaign/sql.h"

namespace postrider::campaign {
namespace {

constexpr std::chrono::milliseconds kPatience{120'000};
// A busy machine is slow, and not wrong: while something moves, it is waited for.
constexpr std::chrono::minutes kLongest{20};
constexpr int kReadModels = 2;

}  // namespace

std::string reached_early(bool covered, int shown, long marker) {
  if (!covered || shown == kReadModels) return {};
  return "the token of marker " + std::to_string(marker) + " was reached before it could be seen";
}

std::optional<double> Prober::recover() {
  const auto begin = std::chrono::steady_clock::now();
  std::string token;
  const auto commit = [&] {
    try {
      Sql sql(app_);
      const auto n = std::to_string(++number_);
      sql.run("BEGIN; INSERT INTO marker VALUES (" + n +
              "); SELECT outbox.emit('marker', jsonb_build_object('n', " + n +
              "), 'marker', 'marker'); COMMIT");
      token = sql.value("SELECT outbox.token()");
      return true;
    } catch (const SqlError&) {
      return false;  // away, or in doubt: the next number
    }
  };
  if (!dev::wait_until(commit, kPatience)) return std::nullopt;
  bool arrived = false;
  auto applied = applied_;
  auto moved = std::chrono::steady_clock::now();
  (void)dev::wait_until(
      [&] {
        arrived = look(token);
        if (applied != applied_) moved = std::chrono::steady_clock::now();
        applied = applied_;
        return arrived || std::chrono::steady_clock::now() - moved > kPatience;
      },
      kLongest);
  if (!arrived) return std::nullopt;
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

bool Prober::look(const std::string& token) {
  bool covered = false;
  try {
    covered = Sql(reader_).value("SELECT postrider.wait_for('" + token + "', '0')") == "t";
  } catch (const SqlError&) {  // away, or its relay was never heard
  }
  try {
    const auto n = std::to_string(number_);
    const auto row = Sql(target_)
                         .rows("SELECT (SELECT count(*) FROM arrived WHERE n = " + n +
                               ") + (SELECT count(*) FROM marker WHERE n = " + n +
                               "), (SELECT sum(ordinal) FROM postrider.cursor)")
                         .front();
    const auto shown = std::stoi(row[0]);
    applied_ = row[1];
    if (auto early = reached_early(covered, shown, number_); !early.empty())
      problems_.push_back(std::move(early));
    return shown == kReadModels;
  } catch (const SqlError&) {
    return false;
  }
}

}  // namespace postrider::campaign
