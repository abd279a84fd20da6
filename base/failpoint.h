// Places where a test can stop the daemon as a crash would. Compiled to nothing in a release.
//
//   POSTRIDER_FAILPOINTS="publish.after_send=kill@3,confirm.after_checkpoint=stop"
//
// kill: SIGKILL to itself; stop: SIGSTOP. "@n" means the n-th time the place is passed, counted
// from 1, once. docs/architecture.md says where the names are listed.
#pragma once

#ifdef POSTRIDER_FAILPOINTS
namespace postrider {
// Thread-safe. Reads the environment once, at the first call.
void pass_failpoint(const char* name);
}  // namespace postrider
#define POSTRIDER_FAILPOINT(name) ::postrider::pass_failpoint(name)
#else
#define POSTRIDER_FAILPOINT(name) static_cast<void>(0)
#endif
