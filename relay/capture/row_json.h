// The `postrider` format of a row change: one JSON object (docs/capture.md, "Row changes"). Pure.
//
//   {"op":"update","schema":"public","table":"orders",
//    "new":{"id":7,"note":"x"},"old":{"id":6},
//    "unchanged":["picture"],"json_null":["extra"],"old_json_null":[]}
//
// "new" is there for inserts, reads (of a backfill) and updates, "old" for deletes and for updates
// where the WAL has it: the key columns, or the whole row where the replica identity is FULL.
// "unchanged" names columns that are missing in "new" because their large value was not touched and
// the WAL does not hold it. The two json_null lists name columns whose value is JSON's null rather
// than SQL's NULL. Empty lists are left out.
#pragma once

#include <string>

namespace postrider {

class CapturedTable;
struct RowChange;

void write_row_json(const CapturedTable& table, const RowChange& change, std::string& out);

}  // namespace postrider
