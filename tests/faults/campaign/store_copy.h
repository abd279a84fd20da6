// A copy of a stopped broker's store. Full message blocks are only ever appended to, so they are
// linked; what may still be written is copied.
#pragma once

#include <filesystem>

namespace postrider::campaign {

class StoreCopy {
 public:
  // `copy` is removed first, and again when this ends.
  StoreCopy(std::filesystem::path store, std::filesystem::path copy);
  ~StoreCopy();
  StoreCopy(const StoreCopy&) = delete;
  StoreCopy& operator=(const StoreCopy&) = delete;

  // The broker must have stopped.
  void put_back() const;

 private:
  std::filesystem::path store_;
  std::filesystem::path copy_;
};

}  // namespace postrider::campaign
