// Finds a short part of a failing plan that still fails, by leaving actions out.
// Source: Zeller, Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (ddmin).
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace postrider::sim {

// `all` fails; `fails` says whether a part of it does. Returns a part that fails and of which no
// single action can be left out.
[[nodiscard]] std::vector<std::size_t> shrink(
    std::vector<std::size_t> all,
    const std::function<bool(const std::vector<std::size_t>&)>& fails);

}  // namespace postrider::sim
