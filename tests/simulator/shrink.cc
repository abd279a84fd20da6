#include "tests/simulator/shrink.h"

#include <algorithm>

namespace postrider::sim {

std::vector<std::size_t> shrink(std::vector<std::size_t> all,
                                const std::function<bool(const std::vector<std::size_t>&)>& fails) {
  std::size_t chunk = std::max<std::size_t>(all.size() / 2, 1);
  while (true) {
    bool shorter = false;
    for (std::size_t at = 0; at < all.size();) {
      auto without = all;
      const auto first = without.begin() + static_cast<std::ptrdiff_t>(at);
      without.erase(first, first + static_cast<std::ptrdiff_t>(std::min(chunk, all.size() - at)));
      if (fails(without)) {
        all = std::move(without);
        shorter = true;
      } else {
        at += chunk;
      }
    }
    if (chunk == 1 && !shorter) return all;
    chunk = std::max<std::size_t>(chunk / 2, 1);
  }
}

}  // namespace postrider::sim
