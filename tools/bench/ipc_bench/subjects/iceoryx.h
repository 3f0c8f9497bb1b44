// Subject `iceoryx`: Eclipse iceoryx 2, publisher and subscriber, polled.
//
// Purpose: zero copy as iceoryx has it: a chunk is loaned, written, published, taken, read in place
//   and released; a full queue blocks the publisher; one pause between polls of the subscriber.
// Who may call: the two processes of a run (pair.h); RouDi is the driver's. Ownership: RouDi, the
//   daemon that owns all its memory, is a child of the driver and ends with it in good order, so
//   that it removes its names itself.
// What fails: another RouDi on the machine, or none: the driver says so and refuses to run.
#pragma once

#include <memory>
#include <string>

#include "tools/bench/ipc_bench/child.h"
#include "tools/bench/ipc_bench/pair.h"

namespace millrace::bench {

class RouDi {
 public:
  // Starts it and waits until it serves; a sentence where it does not.
  std::string Start();
  ~RouDi();

 private:
  Child process_;
  bool serves_ = false;
  Fd log_, config_;
};

class Iceoryx {
 public:
  static const char* Refusal(size_t) { return nullptr; }

  struct Shared {
    explicit Shared(size_t);
    ~Shared();
    std::string run;  // names processes and topics, so that no run meets another's
  };

  class End {
   public:
    End(Shared& shared, Side side, size_t bytes);
    ~End();
    void Send(uint64_t stamp);
    bool Receive(uint64_t stamp);

   private:
    struct Ports;
    size_t bytes_;
    std::unique_ptr<Ports> ports_;
  };
};

}  // namespace millrace::bench
