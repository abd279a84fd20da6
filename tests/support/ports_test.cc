// Servers of tests that run side by side are started on ports chosen long before.
#include "dev/ports.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <vector>

namespace postrider::dev {
namespace {

// So many that two processes which choose at random from the 17,000 share some.
constexpr std::size_t kMany = 350;

std::vector<std::uint16_t> take_many() {
  std::vector<std::uint16_t> ports;
  while (ports.size() < kMany) ports.push_back(free_port());
  return ports;
}

TEST(FreePort, IsGivenToOneProcessAlone) {
  int to_child[2];
  int from_child[2];
  ASSERT_EQ(::pipe(to_child), 0);
  ASSERT_EQ(::pipe(from_child), 0);
  const auto child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {  // holds its ports until this side has chosen too
    const auto theirs = take_many();
    const auto size = theirs.size() * sizeof theirs[0];
    const bool told = ::write(from_child[1], theirs.data(), size) == static_cast<ssize_t>(size);
    ::close(to_child[1]);
    char end = 0;
    (void)!::read(to_child[0], &end, 1);
    std::_Exit(told ? 0 : 1);
  }
  std::vector<std::uint16_t> all(kMany);
  const auto size = static_cast<ssize_t>(all.size() * sizeof all[0]);
  ASSERT_EQ(::read(from_child[0], all.data(), static_cast<std::size_t>(size)), size);
  const auto ours = take_many();
  all.insert(all.end(), ours.begin(), ours.end());
  EXPECT_EQ((std::set<std::uint16_t>(all.begin(), all.end()).size()), 2 * kMany);
  for (const int fd : {to_child[0], to_child[1], from_child[0], from_child[1]}) ::close(fd);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace postrider::dev
