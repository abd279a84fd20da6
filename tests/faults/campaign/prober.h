// Measures recovery from end to end: commits a marker, and waits until both read models show it,
// and with it everything that was committed before. Not thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace postrider::campaign {

// What is wrong when a token counted as reached (`covered`), and afterwards so many of the two read
// models showed the marker that it was taken behind; "" when nothing is.
[[nodiscard]] std::string reached_early(bool covered, int shown, long marker);

class Prober {
 public:
  // conninfo of the service in the source, and of a reader and a superuser in the target.
  Prober(std::string app, std::string reader, std::string target)
      : app_(std::move(app)), reader_(std::move(reader)), target_(std::move(target)) {}

  // Milliseconds until everything has arrived; nothing once nothing was applied for two minutes.
  // The token of the marker's commit must not count as reached before it can be seen.
  [[nodiscard]] std::optional<double> recover();
  [[nodiscard]] const std::vector<std::string>& problems() const { return problems_; }

 private:
  // Whether it is seen now.
  bool look(const std::string& token);

  std::string app_;
  std::string reader_;
  std::string target_;
  long number_ = 0;
  std::string applied_;  // by both read models, when last looked at
  std::vector<std::string> problems_;
};

}  // namespace postrider::campaign
