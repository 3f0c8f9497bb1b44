// The console in a real browser, on a whole server: what a person sees and presses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "services/e2e/browser.h"
#include "services/e2e/console_rig.h"
#include "services/e2e/http_call.h"
#include "services/e2e/slow_trace.h"
#include "services/e2e/tree.h"

namespace millrace {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

TEST_F(ConsoleTest, ThePictureIsTheTopology) {
  Open();
  WaitUntil("answers flow back from aggregation",
            "document.querySelector('[data-link=\"aggregation-ingress\"].link:not(.idle)')");
  std::map<std::string, int> drawn, there;
  for (const json& node :
       browser_->Run("return [...document.querySelectorAll('svg [data-worker]')].map("
                     "(node) => [node.dataset.worker, Number(node.dataset.incarnation)])")) {
    drawn[node[0]] = node[1];
  }
  const json status = tree_->Status();
  for (const json& process : status["processes"]) {
    const std::string stage = process["stage"];
    if (stage != "registry" && stage != "observer") there[process["name"]] = process["incarnation"];
  }
  EXPECT_EQ(drawn, there);
  EXPECT_EQ(drawn.size(), 5u);
  const std::set<std::string> links = browser_->Run(
      "return [...document.querySelectorAll('svg [data-link]')].map((one) => one.dataset.link)");
  const std::set<std::string> expected = {
      "ingress-features",      "ingress-execution", "features-execution",
      "execution-aggregation", "execution-ingress", "aggregation-ingress",
  };
  EXPECT_EQ(links, expected);
  // What the load goes through has a rate, and a wait where one is measured.
  for (const char* link : {"ingress-features", "features-execution", "execution-aggregation"}) {
    const std::string group = "[data-link=\"" + std::string(link) + "\"]";
    EXPECT_THAT(Text(group + " .rate"), HasSubstr("/s")) << link;
    EXPECT_THAT(Text(group + " .wait"), HasSubstr("s")) << link;
  }
  EXPECT_EQ(Text("#state"), "Ready");
  WaitUntil("the model of the load is there",
            "document.querySelector('#models').textContent.includes('randhie')");
  // The other processes stand in the table.
  for (const char* name : {"registry0", "observer0"}) {
    EXPECT_THAT(Text("#row-" + std::string(name)), HasSubstr("ready"));
  }
}

TEST_F(ConsoleTest, ItIsReadableByDayByNightAndOnAPhone) {
  Open();
  WaitUntil("it shows numbers", "document.querySelector('.link:not(.idle)')");
  browser_->Shoot("light");
  const json light =
      browser_->Run("return getComputedStyle(document.documentElement).backgroundColor");
  browser_->Prefer("dark");
  const json dark =
      browser_->Run("return getComputedStyle(document.documentElement).backgroundColor");
  EXPECT_NE(light, dark);
  browser_->Shoot("dark");
  // A choice goes before what the system prefers, and is remembered.
  browser_->Run(
      "const theme = document.querySelector('#theme'); theme.value = 'light';"
      "theme.dispatchEvent(new Event('change'))");
  Open();
  EXPECT_EQ(browser_->Run("return getComputedStyle(document.documentElement).backgroundColor"),
            light);
  browser_->Run("localStorage.clear()");
  browser_->Prefer("light");
  browser_->Resize(360, 740, /*phone=*/true);
  Open();
  WaitUntil("it shows numbers", "document.querySelector('.link:not(.idle)')");
  EXPECT_EQ(browser_->Run("return document.documentElement.scrollWidth"), 360);
  EXPECT_EQ(browser_->Run("return [...document.querySelectorAll('svg text')].filter((text) => "
                          "parseFloat(getComputedStyle(text).fontSize) < 11).length"),
            0);
  browser_->Shoot("phone");
}

TEST_F(ConsoleTest, AKilledWorkerShowsUp) {
  Open();
  WaitUntil("the worker is drawn", "document.querySelector('[data-worker=execution1]')");
  const json before = tree_->Process("execution1");
  // The page itself notes when: the moment of the kill, and of the drawing after it.
  browser_->Run(R"(
      const node = document.querySelector('[data-worker=execution1]');
      const was = node.dataset.incarnation;
      window.killedAt = performance.now();
      new MutationObserver(() => {
        window.changedAt ??= performance.now();
        if (node.dataset.incarnation !== was && node.dataset.state === 'ready')
          window.replacedAt ??= performance.now();
      }).observe(node, {attributes: true, attributeFilter: ['data-incarnation', 'data-state']});)");
  kill(before["pid"].get<int>(), SIGKILL);
  WaitUntil("the successor is drawn", "window.replacedAt");
  const json now = tree_->Process("execution1");
  EXPECT_NE(now["incarnation"], before["incarnation"]);
  EXPECT_EQ(browser_->Run("return document.querySelector('[data-worker=execution1]').dataset."
                          "incarnation"),
            std::to_string(now["incarnation"].get<int>()));
  WaitUntil("the restart is counted",
            "document.querySelector('#row-execution1').textContent.includes('" +
                ("#" + std::to_string(now["incarnation"].get<int>())) + "')");
  EXPECT_THAT(Text("#changes"), HasSubstr("execution1"));
  const json ms = browser_->Run(
      "return [window.changedAt - window.killedAt, window.replacedAt - window.killedAt]");
  printf("the death was drawn %d ms after the kill, the successor %d ms\n",
         static_cast<int>(ms[0].get<double>()), static_cast<int>(ms[1].get<double>()));
  browser_->Shoot("killed", /*whole=*/false);
}

TEST_F(ConsoleTest, DebtIsListedAndOpensByKeyboard) {
  const json owed = tree_->Admin({{"verb", "debt"}});
  ASSERT_GT(owed["debt"].size(), 0u);
  const size_t debts = owed["debt"].size();
  Open();
  WaitUntil("it says how much is owed",
            "document.querySelector('#debt-about').textContent.startsWith('" +
                std::to_string(debts) + " debt')");
  EXPECT_EQ(browser_->Run("return document.querySelector('#debt-all').open"), false);
  browser_->Run("document.querySelector('#debt-all summary').focus()");
  browser_->Press(Browser::kEnter);
  WaitUntil("it is open", "document.querySelector('#debt-all').open");
  EXPECT_EQ(browser_->Run("return document.querySelectorAll('#debt tbody tr').length"), debts);
  const json& first = owed["debt"][0];
  const std::string row = Text("#debt tbody tr");
  EXPECT_THAT(row, HasSubstr(first["model"].get<std::string>()));
  EXPECT_THAT(row, HasSubstr("version " + first["version"].get<std::string>()));
  EXPECT_THAT(row, HasSubstr(first["sentence"].get<std::string>()));
  // One that is too old, of an owner; on a phone, by night.
  json pipeline = HttpCall(tree_->Address("metrics"), "/api/pipeline", "").Finish().Json();
  EXPECT_EQ(pipeline["debt"]["debts"].size(), debts);
  pipeline["debt"] = {{"left_off", 3},
                      {"debts",
                       {{{"kind", "old_weights"},
                         {"model", "churn"},
                         {"version", "3"},
                         {"owner", "Risk team"},
                         {"since_s", 1'790'000'000},
                         {"sentence", "its weights are 239 days old"}},
                        {{"kind", "one_worker"},
                         {"model", "churn"},
                         {"version", "3"},
                         {"owner", ""},
                         {"since_s", nullptr},
                         {"sentence", "one execution worker is behind it"}}}}};
  browser_->Resize(360, 780, /*phone=*/true);
  browser_->Prefer("dark");
  OpenWith({{"/api/pipeline", pipeline}});
  WaitUntil("what is read-only stands out", "document.querySelector('#debt-about.bad')");
  EXPECT_EQ(Text("#debt-about"),
            "5 debts of 1 version and more; 1 version read-only: too old to be promoted");
  browser_->Run("document.querySelector('#debt-all').open = true");
  EXPECT_THAT(Text("#debt tbody tr:nth-child(1)"),
              testing::AllOf(HasSubstr("old weights, read-only"), HasSubstr("2026-09-21"),
                             HasSubstr("Risk team")));
  EXPECT_EQ(Text("#debt tbody tr:nth-child(2) td:nth-child(3)"), "\u2013");
  EXPECT_EQ(browser_->Run("return document.documentElement.scrollWidth <= innerWidth"), true);
  browser_->Shoot("debt_phone_dark");
}

TEST_F(ConsoleTest, ASlowRequestsWaterfallOpensByKeyboard) {
  OpenWith({{"/api/traces",
             {{"kept", json::array({SlowTrace()})},
              {"lost", 3},
              {"exported", 0},
              {"export_failed", 0}}}});
  WaitUntil("the request is listed", "document.querySelector('#traces tr[data-trace]')");
  EXPECT_THAT(Text("#traces tr[data-trace]"), HasSubstr("240 ms"));
  browser_->Run("document.querySelector('#traces tr[data-trace]').focus()");
  browser_->Press(Browser::kEnter);
  WaitUntil("its waterfall is open", "document.querySelector('#trace').open");
  EXPECT_EQ(browser_->Run("return [...document.querySelectorAll('#trace .span')].map("
                          "(span) => span.dataset.span)"),
            json::array({"grpc ModelInfer", "features", "queue", "batch", "execute", "respond"}));
  // Where each began and how long it took, as parts of the whole.
  const json batch = browser_->Run(
      "const bar = document.querySelector('[data-span=batch] i'), track = bar.parentElement;"
      "const a = bar.getBoundingClientRect(), b = track.getBoundingClientRect();"
      "return [(a.left - b.left) / b.width, a.width / b.width]");
  EXPECT_NEAR(batch[0].get<double>(), 30.0 / 240, 0.01);
  EXPECT_NEAR(batch[1].get<double>(), 200.0 / 240, 0.01);
  for (int i = 0; i < 3; ++i) browser_->Press(Browser::kDown);
  EXPECT_EQ(browser_->Run("return document.activeElement.dataset.span"), "batch");
  EXPECT_THAT(Text("#trace .attributes"), HasSubstr("batch.size32"));
  browser_->Shoot("waterfall", /*whole=*/false);
  browser_->Press(Browser::kEscape);
  WaitUntil("it is closed", "!document.querySelector('#trace').open");
  EXPECT_EQ(browser_->Run("return document.activeElement.dataset.trace"),
            "0af7651916cd43dd8448eb211c80319c");
}

// From a request that was made slow to the bar that says where its time went.
TEST_F(ConsoleTest, ASlowRequestOfThisServerIsShown) {
  // Any place of execution's may be the one that has it; the client names the trace.
  const std::string trace = "5bd9f3c1a7e84c0e9d21436587a9cbed";
  const std::string rows =
      R"({"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 64], "data": [)" +
      [] {
        std::string zeros = "0";
        for (int i = 1; i < 64; ++i) zeros += ",0";
        return zeros;
      }() +
      "]}]}";
  const HttpAnswer answer =
      HttpCall(tree_->Address("http"), "/v2/models/digits/infer", rows,
               "traceparent: 00-" + trace + "-00000000000000b7-00\r\nmillrace-fault: slow\r\n")
          .Finish();
  EXPECT_EQ(answer.code, 200);
  Open();
  const std::string line = "#traces tr[data-trace='" + trace + "']";
  WaitUntil("it is listed", "document.querySelector(\"" + line + "\")");
  browser_->Run("document.querySelector(arguments[0]).click()", {line});
  WaitUntil("its waterfall is open", "document.querySelector('#trace').open");
  const json spans = browser_->Run(
      "return Object.fromEntries([...document.querySelectorAll('#trace .span')].map((span) => {"
      "const bar = span.querySelector('i');"
      "return [span.dataset.span, bar.getBoundingClientRect().width /"
      " bar.parentElement.getBoundingClientRect().width]}))");
  ASSERT_TRUE(spans.contains("execute") && spans.contains("http infer")) << spans.dump();
  EXPECT_GT(spans["execute"].get<double>(), 0.5) << spans.dump();
  browser_->Shoot("own_waterfall", /*whole=*/false);
}

// A model, a trace and its attributes may be called anything.
TEST_F(ConsoleTest, NamesAreText) {
  const std::string hostile =
      "<img src=x onerror=\"window.harmed=1\"><script>window.harmed=1</script>";
  json pipeline = HttpCall(tree_->Address("metrics"), "/api/pipeline", "").Finish().Json();
  ASSERT_TRUE(pipeline.is_object());
  for (json& model : pipeline["models"]) model["model"] = hostile;
  pipeline["models"][0]["version"] = hostile;
  pipeline["version"] = hostile;
  pipeline["debt"] = {{"left_off", 0}, {"debts", json::array()}};
  for (const char* kind : {"unsigned", hostile.c_str()}) {
    json& debt = pipeline["debt"]["debts"].emplace_back();
    debt = {{"kind", kind}, {"since_s", nullptr}};
    for (const char* key : {"model", "version", "owner", "sentence"}) debt[key] = hostile;
  }
  for (json& worker : pipeline["workers"]) {
    worker["name"] = worker["name"].get<std::string>() + hostile;
    worker["state"] = hostile;
  }
  json trace = SlowTrace();
  for (const char* key : {"model", "version", "code", "trace_id"}) trace[key] = hostile;
  trace["why"] = json::array({hostile});
  for (json& span : trace["spans"]) {
    span["name"] = hostile;
    span["stage"] = hostile;
    span["attributes"] = {{hostile, hostile}};
  }
  const json line = {{"seq", 7},         {"unix_us", 1},     {"process", hostile},
                     {"level", hostile}, {"event", hostile}, {"fields", hostile},
                     {"suppressed", 3},  {"pid", 1},         {"incarnation", 1}};
  OpenWith({{"/api/pipeline", pipeline},
            {"/api/traces", {{"kept", json::array({trace})}}},
            {"/api/logs", {{"lines", json::array({line})}}}});
  WaitUntil("the line is shown",
            "document.querySelector('#events')?.textContent.includes('<img src=x')");
  WaitUntil("the names are shown",
            "document.querySelector('#models')?.textContent.includes('<img src=x')");
  EXPECT_THAT(Text("#debt"), HasSubstr("<img src=x"));
  WaitUntil("the request is listed", "document.querySelector('#traces tr[data-trace]')");
  browser_->Run("document.querySelector('#traces tr[data-trace]').click()");
  WaitUntil("its waterfall is open", "document.querySelector('#trace').open");
  EXPECT_THAT(Text("#trace"), HasSubstr("<script>"));
  EXPECT_EQ(browser_->Run("return document.querySelectorAll('main img, dialog img, body script')"
                          ".length"),
            0);
  EXPECT_EQ(browser_->Run("return window.harmed ?? null"), nullptr);
}

TEST_F(ConsoleTest, AProfileBecomesAFlameGraph) {
  const char* scratch = getenv("TEST_TMPDIR");
  const std::string file = std::string(scratch == nullptr ? "/tmp" : scratch) + "/execution";
  Child profile({"tools/millrace/millrace", "profile", "execution0", "--seconds=2",
                 "--admin-socket=" + tree_->admin_socket(), "--output=" + file + ".pb.gz",
                 "--folded=" + file + ".folded"},
                true);
  EXPECT_EQ(profile.Wait(), 0);
  Open();
  WaitUntil("it shows numbers", "document.querySelector('svg [data-worker]')");
  json seen;
  for (const char* suffix : {".folded", ".pb.gz"}) {
    browser_->ChooseFile("#profile-file", file + suffix);
    WaitUntil("the profile is drawn",
              "document.querySelector('#flame-about').textContent.startsWith('execution" +
                  std::string(suffix) + ",')");
    // Names of the frames, and what the widest below the root is as a share of it.
    const json now = browser_->Run(
        "return [...document.querySelectorAll('.frame')].map((frame) => "
        "frame.getAttribute('aria-label')).slice(0, 12)");
    EXPECT_THAT(now.dump(), HasSubstr("millrace::")) << suffix;
    if (!seen.is_null()) {
      EXPECT_EQ(now.size(), seen.size());
    }
    seen = now;
  }
  Child heap({"tools/millrace/millrace", "profile", "ingress0", "--heap",
              "--admin-socket=" + tree_->admin_socket(), "--output=" + file + ".heap.pb.gz"},
             true);
  EXPECT_EQ(heap.Wait(), 0);
  browser_->ChooseFile("#profile-file", file + ".heap.pb.gz");
  WaitUntil("the heap is drawn",
            "/^execution.heap.pb.gz, [0-9.]+ [KMG]iB$/.test("
            "document.querySelector('#flame-about').textContent)");
  browser_->ChooseFile("#profile-file", file + ".pb.gz");
  WaitUntil("the profile is drawn again",
            "document.querySelector('#flame-about').textContent.startsWith('execution.pb.gz,')");
  browser_->Run("document.querySelector('#flame input[type=search]').focus()");
  for (const char* key : {"L", "a", "n", "e"}) browser_->Press(key);
  EXPECT_THAT(Text("#flame .found"), HasSubstr("% in it"));
  EXPECT_GT(browser_->Run("return document.querySelectorAll('.frame.match').length"), 0);
  browser_->Run("document.querySelector('.frame').focus()");
  browser_->Press(Browser::kDown);
  browser_->Press(Browser::kEnter);
  EXPECT_EQ(browser_->Run("return document.activeElement.getAttribute('aria-level')"), "1");
  browser_->Press(Browser::kEscape);
  EXPECT_THAT(Text(".frame"), testing::StartsWith("all"));
  browser_->Run("document.querySelector('#flame').scrollIntoView({block: 'center'})");
  browser_->Shoot("flame", /*whole=*/false);
  // What is no profile is said to be none.
  std::ofstream(file + ".txt") << "nothing of the kind\n";
  browser_->ChooseFile("#profile-file", file + ".txt");
  WaitUntil("it is refused",
            "document.querySelector('.flame-line').textContent.includes('neither')");
}

// The same numbers in a terminal.
TEST_F(ConsoleTest, TopShowsTheSame) {
  const auto run = [](const std::string& flag) {
    Child child({"tools/millrace/millrace", "top", flag, "--admin-socket=" + tree_->admin_socket()},
                true);
    const std::string text = child.Output();
    EXPECT_EQ(child.Wait(), 0);
    return text;
  };
  std::string text;
  tree_->WaitUntil("it shows the load", [&] {
    text = run("--once");
    return text.find("ingress 1/1 --") != std::string::npos && text.find(" -0/s") == text.npos;
  });
  for (const char* part : {"Millrace ", "  ready", "execution 2/2 --", "features > execution",
                           "randhie", "observer0"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(text, testing::ContainsRegex("execution1 +ready"));
  const json all = json::parse(run("--json"), nullptr, false);
  ASSERT_TRUE(all.is_object());
  EXPECT_EQ(all["workers"].size(), tree_->ProcessNames().size());
  Child nobody({"tools/millrace/millrace", "top", "--once", "--admin-socket=/nobody/there"}, true);
  EXPECT_EQ(nobody.Wait(), 2);
}

// An observer that is gone: the page says so, and goes on with its successor.
TEST_F(ConsoleTest, OldNumbersAreShownAsOld) {
  Open();
  WaitUntil("it shows numbers", "document.querySelector('svg [data-worker]')");
  browser_->Run(
      "window.real = window.fetch; window.fetch = () => Promise.reject(new Error('gone'))");
  WaitUntil("it says that nobody answers",
            "document.querySelector('#state').textContent === 'Observer does not answer'");
  EXPECT_EQ(browser_->Run("return document.body.classList.contains('stale')"), true);
  browser_->Run("window.fetch = window.real");
  WaitUntil("it goes on", "document.querySelector('#state').textContent === 'Ready'");
  EXPECT_EQ(browser_->Run("return document.body.classList.contains('stale')"), false);
}

}  // namespace
}  // namespace millrace
