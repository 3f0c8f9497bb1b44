#include "services/e2e/routed_rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common/check.h"
#include "common/clock.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

constexpr char kConfig[] =
    "platform: \"xgboost\"\nmax_batch_size: 64\nversion_policy { all {} }\n"
    "input { name: \"input\" data_type: TYPE_FP32 dims: [ 3 ] }\n"
    "output { name: \"prediction\" data_type: TYPE_FP32 dims: [ 1 ] }\n";

// One split on the second of three features; `leaf` is what rows below it get.
std::string ModelText(const std::string& leaf) {
  return R"({"version":[2,0,3],"learner":{
"attributes":{},"feature_names":[],"feature_types":[],
"learner_model_param":{"base_score":"5E-1","boost_from_average":"1","num_class":"0",
"num_feature":"3","num_target":"1"},
"objective":{"name":"binary:logistic","reg_loss_param":{"scale_pos_weight":"1"}},
"gradient_booster":{"name":"gbtree","model":{
"gbtree_model_param":{"num_parallel_tree":"1","num_trees":"1"},
"iteration_indptr":[0,1],"tree_info":[0],"trees":[{
"base_weights":[0,-1,1],"categories":[],"categories_nodes":[],"categories_segments":[],
"categories_sizes":[],"default_left":[1,0,0],"id":0,"left_children":[1,-1,-1],
"loss_changes":[1,0,0],"parents":[2147483647,0,0],"right_children":[2,-1,-1],
"split_conditions":[0.5,)" +
         leaf + R"(,0.75],"split_indices":[1,0,0],"split_type":[0,0,0],
"sum_hessian":[2,1,1],
"tree_param":{"num_deleted":"0","num_feature":"3","num_nodes":"3","size_leaf_vector":"1"}}]}}}})";
}

}  // namespace

RoutedRepository::RoutedRepository() {
  // In memory: a busy disk takes seconds for each of a thousand changes that are kept.
  char name[] = "/dev/shm/millrace-routed-XXXXXX";
  MR_CHECK(mkdtemp(name) != nullptr, "a folder in memory");
  root_ = name;
  for (int version : {1, 2, 3}) AddVersion("m", version);
  AddVersion("small", 1);
}

RoutedRepository::~RoutedRepository() { fs::remove_all(root_); }

void RoutedRepository::AddVersion(const std::string& model, int version) {
  const std::string folder = root_ + "/" + model + "/" + std::to_string(version);
  fs::create_directories(folder);
  std::ofstream(root_ + "/" + model + "/config.pbtxt") << kConfig;
  const std::string leaf = model == "m" ? "-0." + std::to_string(version) + "25" : "-0.9";
  std::ofstream(folder + "/model.json") << ModelText(leaf);
}

RoutedClient::~RoutedClient() {
  if (socket_ >= 0) close(socket_);
}

bool RoutedClient::Connect() {
  const size_t colon = address_.rfind(':');
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(atoi(address_.c_str() + colon + 1)));
  inet_pton(AF_INET, address_.substr(0, colon).c_str(), &to.sin_addr);
  socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) return true;
  close(socket_);
  socket_ = -1;
  return false;
}

RoutedAnswer RoutedClient::Ask(const std::string& path, const std::string& fields,
                               const std::string& parameters) {
  RoutedAnswer answer;
  if (socket_ < 0 && !Connect()) return answer;
  const std::string body =
      "{" + (parameters.empty() ? "" : "\"parameters\":{" + parameters + "},") +
      R"("inputs":[{"name":"input","datatype":"FP32","shape":[1,3],"data":[0.1,0.2,0.3]}]})";
  const std::string request =
      "POST " + path + " HTTP/1.1\r\nHost: m\r\nContent-Length: " + std::to_string(body.size()) +
      "\r\n" + fields + "\r\n" + body;
  std::string text;
  size_t whole = std::string::npos;
  bool good = send(socket_, request.data(), request.size(), MSG_NOSIGNAL) ==
              static_cast<ssize_t>(request.size());
  while (good && text.size() < whole) {
    char buffer[4096];
    const ssize_t n = read(socket_, buffer, sizeof buffer);
    good = n > 0;
    if (good) text.append(buffer, n);
    const size_t end = text.find("\r\n\r\n");
    const size_t length = text.find("Content-Length: ");
    if (whole == std::string::npos && end != std::string::npos && length < end) {
      whole = end + 4 + strtoull(text.c_str() + length + 16, nullptr, 10);
    }
  }
  const bool last = text.find("Connection: close\r\n") < text.find("\r\n\r\n");
  if (!good || last) {
    close(socket_);
    socket_ = -1;
  }
  if (!good) return answer;
  answer.code = atoi(text.c_str() + 9);
  answer.body = text.substr(text.find("\r\n\r\n") + 4);
  const nlohmann::json json = nlohmann::json::parse(answer.body, nullptr, false);
  if (answer.code != 200 || !json.is_object()) return answer;
  answer.model = json.value("model_name", "");
  answer.version = json.value("model_version", "");
  answer.data = json.contains("outputs") ? json["outputs"][0]["data"].dump() : answer.body;
  if (json.contains("parameters"))
    answer.fallback = json["parameters"].value("millrace_fallback", "");
  return answer;
}

RoutedLoad::RoutedLoad(std::string address, int clients,
                       std::map<std::string, std::string> expected)
    : address_(std::move(address)), expected_(std::move(expected)), seen_(clients) {
  for (int i = 0; i < clients; ++i) threads_.emplace_back([this, i] { Run(i); });
}

void RoutedLoad::Run(int client) {
  RoutedClient connection(address_);
  const std::string key = "millrace-client-key: client-" + std::to_string(client) + "\r\n";
  for (int round = 0; !end_.load(); ++round) {
    Seen seen = {MonotonicNanos(), 0, 0, client, static_cast<Seen::Way>(round % 3)};
    const bool path = seen.way == Seen::Way::kPath;
    const RoutedAnswer answer =
        connection.Ask((path ? "/staging" : "") + std::string("/v2/models/m/infer"),
                       seen.way == Seen::Way::kHeader ? key + "x-stage: canary\r\n" : key);
    seen.heard_ns = MonotonicNanos();
    if (answer.code == 200) {
      seen.version = atoi(answer.version.c_str());
      answered_.fetch_add(1);
      const auto expected = expected_.find(answer.version);
      if (expected == expected_.end() || expected->second != answer.data) wrong_.fetch_add(1);
    } else {
      usleep(1000);  // between two ingresses
    }
    seen_[client].push_back(seen);
  }
}

std::vector<RoutedLoad::Seen> RoutedLoad::End() {
  end_.store(true);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  std::vector<Seen> all;
  for (std::vector<Seen>& of : seen_) all.insert(all.end(), of.begin(), of.end());
  return all;
}

}  // namespace millrace
