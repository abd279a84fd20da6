// An ext4 file system of its own on a loop device, whose power can be cut: what was not on the
// device at that moment is gone, as on a machine that loses its power. Needs root. Errors are
// std::runtime_error. The loop device is freed with the mount, by the kernel, also after SIGKILL
// in a mount namespace of one's own (scripts/power-loss makes one).
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>

namespace postrider::test {

class Volume {
 public:
  struct Options {
    std::filesystem::path image;   // made; removed in the end
    std::filesystem::path folder;  // mounted there; what it holds is taken along, and synced
    std::uint64_t bytes = 0;       // of the image, which is sparse
    // ext4 commits its journal that often by itself; 5 s is its default. With a long one nothing
    // survives but what a program has synced.
    std::chrono::seconds commit_interval{0};
  };

  explicit Volume(Options options);
  ~Volume();
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;

  // From now on nothing reaches the device; every write fails. Whoever writes must be killed next.
  void cut_power();
  // Nobody may have files open any more: what memory held is forgotten, the journal is replayed.
  void power_up();

 private:
  void mount();
  void unmount();

  Options options_;
  bool mounted_ = false;
};

}  // namespace postrider::test
