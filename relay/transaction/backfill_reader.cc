#include "relay/transaction/backfill_reader.h"

#include <utility>

namespace postrider {

Result<void> BackfillReader::open(const wire::LogicalMessage& message) {
  const auto split = wire::split_backfill_message(message.content);
  if (!split) return tl::unexpected(split.error());
  if (!header_ || header_text_ != split->header) {
    auto header = wire::BackfillHeader::parse(split->header);
    if (!header) return tl::unexpected(header.error());
    header_text_ = split->header;
    header_ = std::move(*header);
    table_.emplace(header_->relation());
  }
  truncation_left_ = kind() == wire::BackfillKind::kTruncate;
  records_.emplace(kind() == wire::BackfillKind::kRows ? split->records : std::string_view());
  return {};
}

Result<std::optional<BackfillChange>> BackfillReader::next() {
  if (std::exchange(truncation_left_, false)) return BackfillChange{*table_};
  if (records_->at_end()) return std::nullopt;
  if (auto read = records_->next(row_); !read) return tl::unexpected(std::move(read.error()));
  return BackfillChange{*table_, &row_};
}

}  // namespace postrider
