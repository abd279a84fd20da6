#include "relay/wire/backfill_message.h"

#include <nlohmann/json.hpp>

#include "base/json_integer.h"

namespace postrider::wire {
namespace {

using Json = nlohmann::json;

tl::unexpected<Error> not_ours(const std::string& what) {
  return fail(ErrorKind::kMalformedEvent,
              "a logical message with prefix '" + std::string(kBackfillMessagePrefix) +
                  "' was not written by a backfill: " + what,
              "only outbox.backfill_carry may write this prefix: revoke EXECUTE on "
              "pg_logical_emit_message from PUBLIC (see `postrider check`)");
}

}  // namespace

Result<BackfillMessage> split_backfill_message(Bytes content) {
  const std::string_view text = as_text(content);
  const auto end = text.find('\n');
  if (end == std::string_view::npos) return not_ours("it has no header");
  return BackfillMessage{text.substr(0, end), text.substr(end + 1)};
}

Result<BackfillHeader> BackfillHeader::parse(std::string_view header) {
  try {
    const Json json = Json::parse(header);
    if (json_integer<int>(json.at("v")) != 1) return not_ours("its version is unknown");
    BackfillHeader parsed;
    const auto kind = json.at("kind").get<std::string>();
    if (kind == "start") return parsed;
    if (kind != "rows" && kind != "truncate") return not_ours("its kind is unknown");
    parsed.kind_ = kind == "rows" ? BackfillKind::kRows : BackfillKind::kTruncate;
    parsed.schema_ = json.at("schema").get<std::string>();
    parsed.table_ = json.at("table").get<std::string>();
    const auto identity = json.at("identity").get<std::string>();
    parsed.identity_ = identity == "f"   ? ReplicaIdentity::kFull
                       : identity == "i" ? ReplicaIdentity::kIndex
                                         : ReplicaIdentity::kDefault;
    for (const auto& column : json.at("columns"))
      parsed.columns_.push_back({column.at(0).get<std::string>(),
                                 json_integer<std::uint32_t>(column.at(1)),
                                 column.at(2).get<bool>()});
    return parsed;
  } catch (const Json::exception& e) {
    return not_ours(e.what());
  }
}

Relation BackfillHeader::relation() const {
  Relation relation;
  relation.schema = schema_;
  relation.name = table_;
  relation.identity = identity_;
  for (const auto& column : columns_)
    relation.columns.push_back({column.name, column.type, column.key});
  return relation;
}

}  // namespace postrider::wire
