// What a target database's error means for the batch that caused it. Pure.
// Source: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".
#pragma once

#include <string_view>

namespace postrider {

// True when the same batch may succeed later: serialization failure, deadlock, lock or statement
// timeout, resources, a server that shuts down or is read-only for now. Everything else is a
// refusal of the event itself, and stays one.
[[nodiscard]] bool is_transient(std::string_view sqlstate);

// False when the refusal tells of the projection rather than of the event: a function, table or
// right is missing, or it went on after an error that it hides. Every event would be refused so, or
// nobody knows why this one was, and parking one after another helps nobody.
[[nodiscard]] bool blames_event(std::string_view sqlstate);

}  // namespace postrider
