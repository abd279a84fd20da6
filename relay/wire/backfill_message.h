// The content of a logical message that a backfill writes (migrations/service, outbox.backfill_*).
// Pure.
//
//   content:  header newline record*
//   header:   one line of JSON: {"v":1,"kind":"start"}, or
//             {"v":1,"kind":"rows"|"truncate","schema":...,"table":...,"identity":"d"|"i"|"f",
//              "columns":[[name,type OID,in the replica identity],...]}
//   record:   ROW(columns)::text; of kind "rows" alone
//
// "start" says that a backfill was ordered and holds nothing; "truncate" that what readers have of
// the table is replaced by the rows that follow in the same transaction.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "relay/wire/byte_reader.h"
#include "relay/wire/pgoutput.h"

namespace postrider::wire {

inline constexpr std::string_view kBackfillMessagePrefix = "postrider.backfill";

enum class BackfillKind : std::uint8_t { kStart, kRows, kTruncate };

struct BackfillMessage {
  std::string_view header;  // as it stands: equal headers describe the same
  std::string_view records;
};

// Where the header ends. kMalformedEvent when it does not.
[[nodiscard]] Result<BackfillMessage> split_backfill_message(Bytes content);

// What a header says. Owns its text, so that it can be kept while messages repeat it.
class BackfillHeader {
 public:
  // kMalformedEvent for anything that is not described above.
  [[nodiscard]] static Result<BackfillHeader> parse(std::string_view header);

  [[nodiscard]] BackfillKind kind() const { return kind_; }
  // As the WAL would describe the table; without an OID. Views this, which may not move meanwhile.
  [[nodiscard]] Relation relation() const;

 private:
  struct Column {
    std::string name;
    std::uint32_t type = 0;
    bool key = false;
  };
  BackfillKind kind_ = BackfillKind::kStart;
  std::string schema_;
  std::string table_;
  ReplicaIdentity identity_ = ReplicaIdentity::kDefault;
  std::vector<Column> columns_;
};

}  // namespace postrider::wire
