// Attempts to write memory that has one writer, by somebody who is not this writer.
//
// Purpose: each way out that the kernel must close, as code that tries it. Who may call: tests.
// Invariants:
//   1. An attempt runs in a process of its own, as the user asked for, with nothing else against
//      it: it holds the descriptor, and may look at itself under /proc.
//   2. It says how far it came: "done", "<step>: <errno's name>", or the signal that ended it.
// What fails: set-up of the process, said as "set-up: <errno's name>".
#pragma once

#include <sys/types.h>

#include <string>

namespace millrace {

// What is attacked. An attempt on the descriptor uses the first two; one on the owner all of it,
// with the descriptor's number in the owner.
struct Target {
  int fd;
  size_t size;
  std::byte* address;  // in the owner
  pid_t owner;
};

// Where an attempt writes, and what: a byte that no owner in a test writes.
inline constexpr size_t kAttackedByte = 5000;
inline constexpr std::byte kForeign{0xff};

using Attempt = std::string (*)(const Target&);

// The attempt, in a child that becomes `uid` first (root only, unless it is the own one).
std::string RunAs(uid_t uid, Attempt attempt, const Target& target);

// By the descriptor.
std::string MapWritable(const Target& target);
std::string MakeMapWritable(const Target& target);
std::string Write(const Target& target);
std::string WriteAt(const Target& target);
std::string SendFile(const Target& target);
std::string ReopenAndMap(const Target& target);
std::string ReopenAndTruncate(const Target& target);
std::string OpenToAllAndMap(const Target& target);
std::string Shrink(const Target& target);
std::string Grow(const Target& target);
std::string GrowByAllocation(const Target& target);
std::string PunchHole(const Target& target);
std::string AddSeal(const Target& target);
std::string ChangeNoSeal(const Target& target);
// By a mapping of it.
std::string WritePrivateMap(const Target& target);
std::string WriteReadOnlyMap(const Target& target);
std::string ForceReadOnlyMap(const Target& target);
std::string RemoveThroughMap(const Target& target);
std::string WriteInheritedMap(const Target& target);
// By the owner's process.
std::string WriteOwnersMem(const Target& target);
std::string WriteOwnersVm(const Target& target);
std::string PokeOwner(const Target& target);
std::string OpenOwnersFd(const Target& target);
std::string OpenOwnersMap(const Target& target);
std::string TakeOwnersFd(const Target& target);

}  // namespace millrace
