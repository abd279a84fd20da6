// What must be in the stream, and in which order: the events that test_decoding, PostgreSQL's own
// example plugin, decodes from the same WAL through a slot of its own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace postrider::test {

struct ExpectedEvent {
  std::string id;   // uuid text
  std::string xid;  // of its transaction
};

// The text of a uuid's 16 bytes.
[[nodiscard]] std::string uuid_text(std::string_view bytes);

class Oracle {
 public:
  // `superuser` is the conninfo of a superuser in the source's database. Makes the slot: call it
  // before the first event.
  explicit Oracle(std::string superuser);

  // Every event committed since the slot was made, in commit order. Does not consume: a later call
  // returns them all again.
  [[nodiscard]] std::vector<ExpectedEvent> read() const;

 private:
  std::string superuser_;
};

}  // namespace postrider::test
