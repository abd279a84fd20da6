// [[outbox]] of the configuration file: outbox tables of other tools.
#pragma once

#include <toml++/toml.h>

#include <string>
#include <vector>

#include "relay/progress/outbox_rule.h"

namespace postrider {

// Reads one table. Throws Failure(kConfiguration), also when another rule has the same table.
void add_outbox(const std::string& path, const toml::table& table, std::vector<OutboxRule>& into);

// Throws Failure(kConfiguration) when a table of `outboxes` is named in full by one of `captures`.
void require_apart(const std::vector<OutboxRule>& outboxes,
                   const std::vector<CaptureRule>& captures);

}  // namespace postrider
