// What processes logged, in the console.
#include <signal.h>

#include "services/e2e/console_rig.h"

namespace millrace {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

TEST_F(ConsoleTest, WhatIsSaidOfADeathStandsAmongTheEvents) {
  const json before = tree_->Process("execution1");
  tree_->Hurt("execution1", SIGABRT);
  Open();
  const std::string row =
      "[...document.querySelectorAll('#events tbody tr')].some((row) => row.textContent.includes(";
  WaitUntil("the supervisor's line is there", row + "'worker_endedname=execution1 incarnation=" +
                                                  before["incarnation"].dump() + "'))");
  // The worst alone, by keyboard; then of that process alone: where its threads stood.
  browser_->Run("document.querySelector('#events-filter [data-level=error]').focus()");
  browser_->Press(Browser::kEnter);
  WaitUntil("errors alone are shown",
            "document.querySelector('#events .dot.is-bad') && "
            "!document.querySelector('#events .dot:not(.is-bad)')");
  browser_->Run(
      "const process = document.querySelector('#log-process'); process.value = 'execution1';"
      "process.dispatchEvent(new Event('change'))");
  WaitUntil("its last words are shown",
            "[...document.querySelectorAll('#events tbody tr')].length > 0 && "
            "[...document.querySelectorAll('#events tbody tr')].every((row) => "
            "row.children[1].textContent === 'execution1')");
  EXPECT_THAT(Text("#events"), HasSubstr("thread="));
  browser_->Run("document.querySelector('#events').scrollIntoView({block: 'center'})");
  browser_->Shoot("events", /*whole=*/false);
  browser_->Prefer("dark");
  browser_->Resize(360, 740, /*phone=*/true);
  EXPECT_EQ(browser_->Run("return document.documentElement.scrollWidth"), 360);
  browser_->Run("document.querySelector('#events').scrollIntoView({block: 'center'})");
  browser_->Shoot("events_phone", /*whole=*/false);
}

}  // namespace
}  // namespace millrace
