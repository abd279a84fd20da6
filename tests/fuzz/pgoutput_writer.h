// Writes what relay/wire/pgoutput.h reads: the decoder's inverse, as a walsender would write it.
// Fields that the decoder does not keep are written as zero or empty.
#pragma once

#include <string>

#include "relay/wire/pgoutput.h"

namespace postrider::fuzz {

[[nodiscard]] std::string write_pgoutput(const wire::PgOutputMessage& message);

}  // namespace postrider::fuzz
