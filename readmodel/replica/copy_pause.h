// When the new rows of a table go in by COPY: for some time not after some were refused, longer
// each time, as where they were there already. Pure.
#pragma once

#include <algorithm>

namespace postrider::replica {

class CopyPause {
 public:
  // To be asked each time that rows are written.
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
  static constexpr unsigned kLongest = 63;  // times
  unsigned pause_ = 0;
  unsigned left_ = 0;
};

}  // namespace postrider::replica
