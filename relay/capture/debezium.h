// The `debezium` format of a row change: the envelope that Debezium's PostgreSQL connector writes
// with the JSON converter, schemas.enable=false and decimal.handling.mode=string (docs/capture.md,
// "Debezium's envelope"). Pure.
//
//   {"before":...,"after":...,"source":{...},"op":"c|u|d|t|r","ts_ms":...,"transaction":null}
//
// Both times are the commit's, since nothing of the publishing relay may enter a message.
// Source: Debezium documentation, "Debezium connector for PostgreSQL", data change events.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace postrider {

class CapturedTable;
struct RowChange;

void write_debezium(const CapturedTable& table, const RowChange& change, std::string& out);

// Appends a value that is not NULL as Debezium maps its type.
void append_debezium_value(std::string& out, std::uint32_t type, std::string_view text);

// Microseconds since 1970-01-01 of PostgreSQL's text of a timestamp without zone (ISO style);
// infinity as Debezium has it. Nothing for other text.
[[nodiscard]] std::optional<std::int64_t> timestamp_us(std::string_view text);

}  // namespace postrider
