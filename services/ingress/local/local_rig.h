// A local server on a thread of its own over a fake Frontend, and clients that keep no rule.
//
// Purpose: what the tests of the local lane share. Who may call: the test's thread; the Frontend is
//   touched under Do alone. Ownership: a LocalRig owns its socket's folder and its thread.
// Nothing fails; what cannot be made ends the test.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "ipc/client/wire.h"
#include "ipc/testing/must.h"
#include "services/ingress/local/local_server.h"
#include "services/ingress/testing/fake_frontend.h"

namespace millrace {

class LocalRig {
 public:
  explicit LocalRig(LocalOptions options = {});
  // The next process's: on the same socket.
  LocalRig(LocalOptions options, const LocalRig& former);
  ~LocalRig();

  const std::string& path() const { return path_; }
  // As a process that ends; Do and WaitUntil have nothing to ask any more.
  void EndServer();
  // Runs `action` on the server's thread.
  void Do(const std::function<void(FakeFrontend&, LocalServer&)>& action);
  // Until `holds` is true there.
  void WaitUntil(const std::function<bool(FakeFrontend&, LocalServer&)>& holds);

 private:
  void Start(const LocalOptions& options);
  void Run();

  std::string folder_, path_;
  Fd listening_, wake_;
  FakeFrontend frontend_;
  std::unique_ptr<LocalServer> server_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::thread thread_;
};

// A client made of bare regions and packets.
struct RawClient {
  explicit RawClient(const std::string& path);

  // The next packet that is no wake-up; an empty one is the end.
  std::string Next();
  void Hello(uint32_t magic = kLocalMagic, uint32_t version = kLocalVersion,
             uint64_t layout = kLocalLayout);
  // Hello, Welcome and the regions, right ones.
  void MakeRegions();
  void HandOver(const std::vector<int>& fds);
  std::vector<int> Regions() const;
  // All of it, and "plain" opened as handle 0.
  void Connect();
  // Writes the message as the next one of the link, whatever it says.
  void Publish(const Message& message);
  // A request of one row of "plain", in the arena at its start.
  Message Request(uint64_t id);
  std::byte* At(uint32_t offset) { return arena.bytes() + offset; }
  bool TakeAnswer(Message* message);

  Fd socket;
  std::vector<char> buffer;
  std::vector<Fd> fds;
  uint32_t slot_count = 0;
  Region slots, returns, arena, words;
  LinkConsumer* in = nullptr;
  uint64_t next = 0;
  std::unique_ptr<LinkConsumer> answers;
  ArenaView their_arena;
};

}  // namespace millrace
