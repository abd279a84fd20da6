#include "daemon/verify/spill.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "base/error.h"

namespace postrider {
namespace {

constexpr std::size_t kBuffer = 16UL * 1024;  // of one partition

[[noreturn]] void refuse(const char* what) {
  throw Failure(ErrorKind::kInternal,
                std::string("temporary file: ") + what + ": " + std::strerror(errno),
                "verify stream needs about 120 bytes of disk in $TMPDIR for each event");
}

int open_unnamed() {
  const char* folder = std::getenv("TMPDIR");
  std::string path = std::string(folder == nullptr ? "/tmp" : folder) + "/postrider-verify.XXXXXX";
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) refuse("cannot be made");
  ::unlink(path.c_str());
  return fd;
}

}  // namespace

SpillFile::SpillFile(std::size_t partitions) : fd_(open_unnamed()), partitions_(partitions) {}

SpillFile::~SpillFile() {
  ::close(fd_);
}

void SpillFile::append(std::size_t partition, std::span<const std::byte> record) {
  Partition& into = partitions_.at(partition);
  if (into.buffer.size() + record.size() > kBuffer) write_out(into);
  into.buffer.insert(into.buffer.end(), record.begin(), record.end());
}

void SpillFile::write_out(Partition& partition) {
  const std::size_t size = partition.buffer.size();
  for (std::size_t done = 0; done < size;) {
    const auto written =
        ::pwrite(fd_, partition.buffer.data() + done, size - done, static_cast<off_t>(end_ + done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) refuse("cannot be written");
    done += static_cast<std::size_t>(written);
  }
  partition.chunks.push_back({end_, size});
  end_ += size;
  partition.buffer.clear();
}

std::vector<std::byte> SpillFile::read(std::size_t partition) const {
  const Partition& from = partitions_.at(partition);
  std::size_t size = from.buffer.size();
  for (const auto& chunk : from.chunks) size += chunk.size;
  std::vector<std::byte> bytes(size);
  std::size_t at = 0;
  for (const auto& chunk : from.chunks)
    for (std::size_t done = 0; done < chunk.size;) {
      const auto got = ::pread(fd_, bytes.data() + at, chunk.size - done,
                               static_cast<off_t>(chunk.offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) refuse("cannot be read");
      done += static_cast<std::size_t>(got);
      at += static_cast<std::size_t>(got);
    }
  if (!from.buffer.empty()) std::memcpy(bytes.data() + at, from.buffer.data(), from.buffer.size());
  return bytes;
}

}  // namespace postrider
