// When the new rows of a table go in by COPY: not in some of the batches after one whose rows were
// there already, more of them each time. Pure.
#pragma once

#include <algorithm>

namespace postrider::replica {

class CopyPause {
 public:
  // To be asked once a batch.
  [[nodiscard]] bool may_copy() {
    if (left_ == 0) return true;
    --left_;
    return false;
  }
  void copied() { pause_ = 0; }
  void refused() {
    pause_ = std::min(2 * pause_ + 1, kLongest);
    left_ = pause_;
  }

 private:
  static constexpr unsigned kLongest = 63;  // batches
  unsigned pause_ = 0;
  unsigned left_ = 0;
};

}  // namespace postrider::replica
