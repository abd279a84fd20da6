// How long the holder of a lock has shown no life, as a standby that looks now and then sees it:
// the owner of a source, or the applier of a read model. Pure: time comes in as an argument.
//
// The server tells when the owner's backend last changed its state, by its own clock; that says it
// at the first look. But a clock that was set back says too little, for as long as it was set back.
// So the standby also keeps how long it has seen the same state itself.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>

namespace postrider {

class HolderLife {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // The longer of what the server's clock says and of how long backend `pid` has been seen with the
  // state that it took at `changed`, the server's text, whatever it means. The look was asked for
  // and answered at these times: the standby may stand still itself meanwhile.
  [[nodiscard]] std::chrono::milliseconds silence(int pid, const std::string& changed,
                                                  std::chrono::milliseconds by_server, Time asked,
                                                  Time answered) {
    if (pid != pid_ || changed != changed_) {
      pid_ = pid;
      changed_ = changed;
      since_ = answered;
    }
    return std::max(by_server,
                    std::chrono::duration_cast<std::chrono::milliseconds>(asked - since_));
  }

 private:
  int pid_ = 0;  // none
  std::string changed_;
  Time since_;
};

}  // namespace postrider
