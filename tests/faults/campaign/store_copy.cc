#include "tests/faults/campaign/store_copy.h"

#include <cstdlib>
#include <map>

namespace postrider::campaign {
namespace fs = std::filesystem;
namespace {

// Of each folder of blocks ("7.blk"), the number of the one that is written.
std::map<fs::path, int> newest_blocks(const fs::path& store) {
  std::map<fs::path, int> newest;
  for (const auto& entry : fs::recursive_directory_iterator(store))
    if (entry.path().extension() == ".blk") {
      auto& number = newest[entry.path().parent_path()];
      number = std::max(number, std::atoi(entry.path().stem().c_str()));
    }
  return newest;
}

}  // namespace

StoreCopy::StoreCopy(fs::path store, fs::path copy)
    : store_(std::move(store)), copy_(std::move(copy)) {
  fs::remove_all(copy_);
  auto newest = newest_blocks(store_);
  for (const auto& entry : fs::recursive_directory_iterator(store_)) {
    const auto to = copy_ / fs::relative(entry.path(), store_);
    if (entry.is_directory()) {
      fs::create_directories(to);
      continue;
    }
    fs::create_directories(to.parent_path());
    const bool full = entry.path().extension() == ".blk" &&
                      std::atoi(entry.path().stem().c_str()) < newest[entry.path().parent_path()];
    if (full)
      fs::create_hard_link(entry.path(), to);
    else
      fs::copy_file(entry.path(), to);
  }
}

StoreCopy::~StoreCopy() {
  std::error_code error;
  fs::remove_all(copy_, error);
}

void StoreCopy::put_back() const {
  fs::remove_all(store_);
  fs::rename(copy_, store_);
}

}  // namespace postrider::campaign
