// A single-process gRPC server of ModelInfer alone, on completion queues: what Millrace is measured
// against.
//
// Purpose: the loop that the bench's subjects share; what they answer is theirs.
// Who may call: main(); the handler is called by one thread for each queue.
// Ownership: a call frees itself after its answer.
// Invariants: 1. each thread has a queue of its own, with so many calls waiting that none waits for
//   a slot. 2. The server ends with its standard input, so that none outlives the bench.
// What fails: Serve returns false where the address cannot be had.
//
// `Service` is a generated service with ModelInfer as an async or as a raw method.
#pragma once

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace millrace {

template <typename Service, typename Request, typename Response>
class UnaryServer {
 public:
  using Handler = std::function<grpc::Status(const Request&, Response*)>;

  explicit UnaryServer(Handler handler) : handler_(std::move(handler)) {}

  // Each line of the standard input, on the thread that Serve is called on.
  void OnLine(std::function<void(const std::string&)> on_line) { on_line_ = std::move(on_line); }

  // Prints "127.0.0.1:PORT" once it listens; returns at the end of the standard input.
  bool Serve(int threads) {
    constexpr int kWaitingCalls = 64;
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
    for (int i = 0; i < threads; ++i) queues.push_back(builder.AddCompletionQueue());
    const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
    if (server == nullptr || port == 0) return false;
    std::vector<std::thread> loops;
    for (const auto& queue : queues) {
      for (int i = 0; i < kWaitingCalls; ++i) (new Call(this, queue.get()))->Wait();
      loops.emplace_back([&queue] { Loop(queue.get()); });
    }
    std::cout << "127.0.0.1:" << port << std::endl;
    std::string line;
    for (char byte; read(STDIN_FILENO, &byte, 1) > 0;) {
      if (byte != '\n') {
        line += byte;
        continue;
      }
      if (on_line_) on_line_(line);
      line.clear();
    }
    server->Shutdown();
    for (const auto& queue : queues) queue->Shutdown();
    for (std::thread& loop : loops) loop.join();
    return true;
  }

 private:
  // Waits for a request, answers it, and ends; the next one is waiting before it answers.
  class Call {
   public:
    Call(UnaryServer* server, grpc::ServerCompletionQueue* queue)
        : server_(server), queue_(queue), writer_(&context_) {}

    void Wait() {
      server_->service_.RequestModelInfer(&context_, &request_, &writer_, queue_, queue_, this);
    }

    void Proceed(bool ok) {
      if (!ok || answered_) {
        delete this;
        return;
      }
      (new Call(server_, queue_))->Wait();
      answered_ = true;
      const grpc::Status status = server_->handler_(request_, &response_);
      if (status.ok()) {
        writer_.Finish(response_, status, this);
      } else {
        writer_.FinishWithError(status, this);
      }
    }

   private:
    UnaryServer* const server_;
    grpc::ServerCompletionQueue* const queue_;
    grpc::ServerContext context_;
    Request request_;
    Response response_;
    grpc::ServerAsyncResponseWriter<Response> writer_;
    bool answered_ = false;
  };

  static void Loop(grpc::ServerCompletionQueue* queue) {
    void* tag = nullptr;
    bool ok = false;
    while (queue->Next(&tag, &ok)) static_cast<Call*>(tag)->Proceed(ok);
  }

  const Handler handler_;
  std::function<void(const std::string&)> on_line_;
  Service service_;
};

}  // namespace millrace
