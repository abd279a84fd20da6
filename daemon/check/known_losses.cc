#include "daemon/check/known_losses.h"

namespace postrider {

std::string_view mends_stale_publications(int version) {
  if (version < 150013) return "15.13";
  if (version >= 160000 && version < 160009) return "16.9";
  if (version >= 170000 && version < 170005) return "17.5";
  return {};
}

}  // namespace postrider
