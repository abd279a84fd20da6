// The physical slots that a server waits for before it sends events of a failover slot: those named
// in synchronized_standby_slots (PostgreSQL 17).
// Source: PostgreSQL documentation, "Replication", and SplitIdentifierString in its sources.
#pragma once

namespace postrider::sql {

inline constexpr int kFailoverSlots = 170000;  // server versions from here on have them

// An expression for FROM: the names, one a row, as the server reads them. Without the setting, none.
// Names of slots are made of a-z, 0-9 and _, so that quotes around them mean nothing.
inline constexpr const char* kStandbySlotNames =
    "(SELECT name FROM unnest(string_to_array(lower(translate("
    "coalesce(current_setting('synchronized_standby_slots', true), ''), "
    "E' \\t\\n\\r\\f\\v\"', '')), ',')) AS name WHERE name <> '') AS named";

}  // namespace postrider::sql
