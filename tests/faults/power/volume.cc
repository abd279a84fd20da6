#include "tests/faults/power/volume.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "dev/process.h"

namespace postrider::test {
namespace fs = std::filesystem;
namespace {

// EXT4_IOC_SHUTDOWN and EXT4_GOING_FLAGS_NOLOGFLUSH: older headers lack them.
constexpr unsigned long kExt4Shutdown = 0x8004587d;
constexpr std::uint32_t kWithoutFlushingTheLog = 2;

void run(const std::vector<std::string>& command) {
  dev::Program program;
  program.command = command;
  if (dev::run(program) == 0) return;
  std::string text;
  for (const auto& word : command) text += word + ' ';
  throw std::runtime_error("failed: " + text);
}

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

}  // namespace

Volume::Volume(Options options) : options_(std::move(options)) {
  {
    const int fd = ::open(options_.image.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) fail("cannot make " + options_.image.string());
    ::close(fd);
  }
  fs::resize_file(options_.image, options_.bytes);
  run({"mkfs.ext4", "-q", "-F", "-m", "0", options_.image.string()});
  const auto before = options_.folder.string() + ".before";
  fs::rename(options_.folder, before);
  fs::create_directory(options_.folder);
  mount();
  fs::remove(options_.folder / "lost+found");
  run({"cp", "-a", before + "/.", options_.folder.string()});
  fs::remove_all(before);
  const int fd = ::open(options_.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::syncfs(fd) == 0;
  ::close(fd);
  if (!synced) fail("cannot sync " + options_.folder.string());
}

Volume::~Volume() {
  if (mounted_) ::umount2(options_.folder.c_str(), MNT_DETACH);
  std::error_code ignored;
  fs::remove(options_.image, ignored);
}

void Volume::cut_power() {
  const int fd = ::open(options_.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail("cannot open " + options_.folder.string());
  const bool cut = ::ioctl(fd, kExt4Shutdown, &kWithoutFlushingTheLog) == 0;
  ::close(fd);
  if (!cut) fail("EXT4_IOC_SHUTDOWN on " + options_.folder.string());
}

void Volume::power_up() {
  unmount();
  mount();
}

void Volume::mount() {
  run({"mount", "-t", "ext4", "-o",
       "loop,commit=" + std::to_string(options_.commit_interval.count()), options_.image.string(),
       options_.folder.string()});
  mounted_ = true;
}

void Volume::unmount() {
  constexpr dev::milliseconds kPatience{10'000};
  if (!dev::wait_until([&] { return ::umount(options_.folder.c_str()) == 0 || errno != EBUSY; },
                       kPatience))
    throw std::runtime_error(options_.folder.string() + " is still in use");
  mounted_ = false;
}

}  // namespace postrider::test
