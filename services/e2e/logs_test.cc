// What processes logged is found at the observer, also of those that are dead.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <sstream>

#include "services/e2e/http_call.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

// Lines of /api/logs.
std::vector<json> Lines(Tree& tree, const std::string& query) {
  const HttpAnswer answer = HttpCall(tree.Address("metrics"), "/api/logs?" + query, "").Finish();
  EXPECT_EQ(answer.code, 200) << answer.body;
  const json reply = answer.Json();
  return reply.is_object() ? reply.value("lines", std::vector<json>()) : std::vector<json>();
}

std::vector<json> WaitForLines(Tree& tree, const char* what, const std::string& query) {
  std::vector<json> lines;
  tree.WaitUntil(what, [&] { return !(lines = Lines(tree, query)).empty(); });
  return lines;
}

std::string FileText(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string Said(const Tree& tree, const std::vector<std::string>& flags) {
  std::vector<std::string> command = {"tools/millrace/millrace", "logs",
                                      "--admin-socket=" + tree.admin_socket()};
  command.insert(command.end(), flags.begin(), flags.end());
  Child child(command, true);
  EXPECT_EQ(child.Wait(), 0);
  return child.Output();
}

TEST(Logs, OfTheDeadOfTheSupervisorAndOfItsSuccessor) {
  auto tree = Tree::Start({});
  for (const char* process : {"supervisor", "registry", "execution", "observer"}) {
    WaitForLines(*tree, "each process has logged something", std::string("process=") + process);
  }
  // Its last words: where its threads stood.
  const json execution = tree->Process("execution0");
  tree->Hurt("execution0", SIGABRT);
  const std::vector<json> stack =
      WaitForLines(*tree, "the stacks of the dead", "process=execution0&event=stack&level=error");
  EXPECT_EQ(stack[0]["pid"], execution["pid"]);
  EXPECT_EQ(stack[0]["incarnation"], execution["incarnation"]);
  EXPECT_THAT(stack[0]["fields"], HasSubstr("thread="));
  const std::vector<json> ended = WaitForLines(*tree, "what the supervisor says of it",
                                               "process=supervisor&event=worker_ended");
  EXPECT_THAT(ended[0]["fields"], HasSubstr("name=execution0"));
  EXPECT_THAT(ended[0]["fields"], HasSubstr("signal=6"));
  EXPECT_EQ(ended[0]["level"], "warning");

  const std::string warnings = Said(*tree, {"--level=warning", "--process=supervisor"});
  EXPECT_THAT(warnings, HasSubstr(" warning supervisor worker_ended name=execution0"));
  EXPECT_THAT(warnings, Not(HasSubstr(" info ")));
  // Who follows sees what comes, over a supervisor's death, and nothing twice.
  const char* scratch = getenv("TEST_TMPDIR");
  const std::string file = std::string(scratch == nullptr ? "/tmp" : scratch) + "/followed";
  std::ofstream(file).flush();  // what a run before has left
  Child follower({"/bin/sh", "-c",
                  "exec tools/millrace/millrace logs --follow --admin-socket=" +
                      tree->admin_socket() + " >" + file},
                 false);
  tree->WaitUntil("the follower has seen what there was", [&] {
    return FileText(file).find("worker_ended name=execution0") != std::string::npos;
  });
  tree->KillSupervisor();
  tree->Hurt("features0", SIGKILL);
  tree->WaitUntil("the follower has seen it", [&] {
    return FileText(file).find("worker_ended name=features0") != std::string::npos;
  });
  follower.Signal(SIGTERM);
  follower.Wait();
  const std::string followed = FileText(file);
  const auto count = [&](const std::string& text) {
    size_t found = 0;
    for (size_t at = 0; (at = followed.find(text, at)) != std::string::npos; ++at) ++found;
    return found;
  };
  EXPECT_EQ(count("worker_ended name=execution0"), 1u) << followed;
  EXPECT_EQ(count("worker_ended name=features0"), 1u) << followed;
  EXPECT_EQ(count(" supervising pid="), 2u) << "the one before, and its successor\n" << followed;
  // The observer is counted among those who may die.
  tree->Hurt("observer0", SIGKILL);
  WaitForLines(*tree, "the next observer has the lines of the living", "process=supervisor");
  EXPECT_EQ(HttpCall(tree->Address("metrics"), "/api/logs?level=loud", "").Finish().code, 400);
  EXPECT_EQ(tree->Stop(), 0);
}

}  // namespace
}  // namespace millrace
