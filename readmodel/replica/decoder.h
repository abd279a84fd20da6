// Row changes of one source table, brought to the columns of its target. Pure.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "readmodel/replica/change.h"
#include "readmodel/replica/target_table.h"

namespace postrider::replica {

class Decoder {
 public:
  // Keeps a reference to the table.
  explicit Decoder(const TargetTable& table);

  // The change, which views what `json` views. `unknown` gets the names of columns that the target
  // lacks and that were not ignored: then the change is not to be used. kReplicaTable when the
  // target cannot take such changes at all, kMalformedEvent when this one makes no sense.
  [[nodiscard]] Result<void> decode(const RowJson& json, Change& into,
                                    std::vector<std::string>& unknown);

  // kReplicaTable when the target's key is not the one by which the source tells its rows. `told`
  // is the event's Postrider-Key: the key's values, in the order of the source's columns. For what
  // decode() has taken.
  [[nodiscard]] Result<void> check_key(const RowJson& json, std::string_view told);

  // Leaves a column out from now on.
  void ignore(const std::string& name);

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  // The column's index, kIgnored, or kUnknown.
  [[nodiscard]] int column_of(std::string_view quoted_name);
  [[nodiscard]] Result<void> read_cells(const std::vector<Member>& members,
                                        const std::vector<std::string_view>& json_null,
                                        Cells& cells, std::vector<std::string>& unknown);
  [[nodiscard]] Result<void> check_old(const Change& change, bool has_old) const;
  [[nodiscard]] Result<void> check_whole(const RowJson& json, const Change& change) const;
  [[nodiscard]] Result<void> check_row(Change& change) const;
  [[nodiscard]] Error no_key() const;

  using Columns = std::unordered_map<std::string, int, Hash, std::equal_to<>>;

  const TargetTable& table_;
  std::vector<std::size_t> key_;
  Columns by_name_;
  std::string key_text_;
  Columns by_json_;  // the same by names as events write them, as far as they were seen
};

}  // namespace postrider::replica
