// Records that do not fit into memory, by partition, in one temporary file that has no name: it is
// gone when the process is, however that ends. In $TMPDIR, else /tmp.
//
// Holds one buffer for each partition; read() holds one partition. Not thread-safe. Throws
// Failure(kInternal) when the disk is full or cannot be written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

namespace postrider {

class SpillFile {
 public:
  explicit SpillFile(std::size_t partitions);
  ~SpillFile();
  SpillFile(const SpillFile&) = delete;
  SpillFile& operator=(const SpillFile&) = delete;

  void append(std::size_t partition, std::span<const std::byte> record);
  // Everything that was appended to a partition, in its order. More may be appended afterwards.
  [[nodiscard]] std::vector<std::byte> read(std::size_t partition) const;

 private:
  struct Chunk {
    std::uint64_t offset = 0;
    std::size_t size = 0;
  };
  struct Partition {
    std::vector<std::byte> buffer;
    std::vector<Chunk> chunks;
  };
  void write_out(Partition& partition);

  int fd_ = -1;
  std::uint64_t end_ = 0;
  std::vector<Partition> partitions_;
};

template <class Record>
class Spill {
  static_assert(std::is_trivially_copyable_v<Record>);

 public:
  explicit Spill(std::size_t partitions) : file_(partitions) {}

  void add(std::size_t partition, const Record& record) {
    file_.append(partition, std::as_bytes(std::span(&record, 1)));
  }
  [[nodiscard]] std::vector<Record> read(std::size_t partition) const {
    const auto bytes = file_.read(partition);
    std::vector<Record> records(bytes.size() / sizeof(Record));
    if (!bytes.empty()) std::memcpy(records.data(), bytes.data(), bytes.size());
    return records;
  }

 private:
  SpillFile file_;
};

}  // namespace postrider
