#include "readmodel/replica/table_order.h"

#include <algorithm>
#include <unordered_map>

namespace postrider::replica {
namespace {

class Order {
 public:
  explicit Order(const std::vector<const TargetTable*>& tables) {
    for (const auto* table : tables) waiting_.emplace(table->oid, table);
    for (const auto* table : tables) put(table->oid);
  }
  [[nodiscard]] std::vector<const TargetTable*> take() { return std::move(order_); }

 private:
  // As deep as foreign keys between the tables of one batch go.
  void put(std::uint32_t oid) {
    const auto found = waiting_.find(oid);
    if (found == waiting_.end()) return;
    const auto* table = found->second;
    waiting_.erase(found);
    for (const auto parent : table->parents) put(parent);
    order_.push_back(table);
  }

  std::unordered_map<std::uint32_t, const TargetTable*> waiting_;
  std::vector<const TargetTable*> order_;
};

}  // namespace

std::vector<const TargetTable*> parents_first(const std::vector<const TargetTable*>& tables) {
  return Order(tables).take();
}

}  // namespace postrider::replica
