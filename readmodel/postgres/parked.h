// What a person does about source transactions that were parked: `postrider apply retry|skip NAME
// --parked`. Each in one target transaction, at whose beginning the applier is made to wait at its
// cursor: what a projection reads and writes again does not change under it. Functions throw
// Failure.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "readmodel/options.h"
#include "readmodel/postgres/sql_projection.h"
#include "readmodel/replica/rules.h"

namespace postrider {

// First ordinals of the parked transactions, in order.
[[nodiscard]] std::vector<std::uint64_t> parked_ordinals(const ReadModelOptions& options);

// Applies the transaction now, behind everything that is applied already, and leaves an audit row.
// False when none is parked there. kPoisonEvent when it is refused again: it stays parked.
// kConfiguration when it holds row changes that `replicas` take: late, they would overwrite newer
// rows.
[[nodiscard]] bool retry_parked(const ReadModelOptions& options,
                                std::span<const std::shared_ptr<SqlProjection>> projections,
                                const replica::Options& replicas, std::uint64_t first_ordinal);

// Discards it; an audit row keeps the events. False when none is parked there.
[[nodiscard]] bool skip_parked(const ReadModelOptions& options, std::uint64_t first_ordinal);

}  // namespace postrider
