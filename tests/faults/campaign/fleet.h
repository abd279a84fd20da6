// The processes under test: two relays and two appliers, each behind links of its own, so that one
// can lose its network while the other has it. Not thread-safe, but for sample().
#pragma once

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/faults/campaign/link.h"
#include "tests/faults/campaign/world.h"
#include "tests/support/relay_process.h"

namespace postrider::campaign {

enum class Role : std::uint8_t { kRelay, kApplier };

// Largest seen of any process of a role.
struct Resources {
  std::uint64_t resident_kib = 0;
  std::uint64_t files = 0;
  std::uint64_t threads = 0;
};

// C10: what is wrong with what processes of a role took at most; "" when nothing is. The memory of
// a sanitizer is its own: it is not counted where the program is `sanitized`.
[[nodiscard]] std::string beyond_limits(Role role, const Resources& peak, bool sanitized);
// C12: what is wrong with a process that ended with `status` and may have ended with any of
// `expected`; "" when nothing is.
[[nodiscard]] std::string unexpected_end(const std::string& name, int status,
                                         const std::vector<int>& expected);

class Fleet {
 public:
  // A process and its links; `database` leads to the source, an applier's to the target.
  struct Member {
    Role role;
    std::string name;  // "relay-a"
    std::unique_ptr<Link> database;
    std::unique_ptr<Link> broker;
    std::unique_ptr<test::RelayProcess> process;
    std::uint64_t bytes_before = 0;
    std::vector<int> may_exit;  // how the present process may end
    bool judged = false;        // its end has been looked at
  };

  explicit Fleet(World& world);
  ~Fleet();

  // The one of the role that has moved the most since the last call; the other stands by.
  Member& active(Role role);
  Member& standby(Role role);
  std::array<Member, 2>& members(Role role) { return role == Role::kRelay ? relays_ : appliers_; }

  // Starts it again, with `failpoints`. Its earlier process must have ended.
  void start(Member& member, const std::string& failpoints = {});
  void kill(Member& member);
  // SIGTERM, and waits for its end: it must drain and exit with 0.
  void terminate(Member& member);
  // Starts what has ended. How it ended is judged: anything unexpected becomes a problem.
  void revive();
  void stop_all();

  void set_variant(int variant) { variant_ = variant; }
  [[nodiscard]] int variant() const { return variant_; }
  void heal_links();

  // Looks at every process: memory, files, threads.
  void sample();
  [[nodiscard]] std::map<Role, Resources> peaks() const;
  // Processes that ended as they must not, each with its log.
  [[nodiscard]] const std::vector<std::string>& problems() const { return problems_; }
  [[nodiscard]] const std::map<std::string, std::uint64_t>& exits() const { return exits_; }

 private:
  void judge(Member& member);

  World& world_;
  std::array<Member, 2> relays_;
  std::array<Member, 2> appliers_;
  int variant_ = 0;
  mutable std::mutex mutex_;  // of the processes and the peaks
  std::map<Role, Resources> peaks_;
  std::vector<std::string> problems_;
  std::map<std::string, std::uint64_t> exits_;  // "relay 137" and how often
};

}  // namespace postrider::campaign
