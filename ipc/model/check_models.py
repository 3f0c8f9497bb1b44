#!/usr/bin/env python3
"""Runs Spin on the models: once as the code is, once for each planted fault.

usage: check_models.py CONSTANTS_INC GROUP

A model without a fault must have no error in all its states; one with a fault must have the error
that the table names. A fault of a model that no case plants fails too. The cases of a group are
reported one by one (XML_OUTPUT_FILE).
"""

import collections
import glob
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from xml.sax.saxutils import quoteattr

HERE = os.path.dirname(os.path.abspath(__file__))

# error: what must be found, a pattern of pan's words; "" for none.
Case = collections.namedtuple("Case", "group name model defines error")

STUCK = "invalid end state"
ANSWERED_TWICE = r"assertion violated \(answers\["
LOST_OR_TWICE = r"assertion violated \(slot_number"
NOT_HOME = r"assertion violated home\["
WRONG_ANSWER = r"assertion violated \(v=="
LOST_AT_THE_END = r"assertion violated \(+ ?!\(dead\["
USED_EARLY = r"assertion violated \( ?!\(roster\[k\]\)\|\|\(at_worker"
NOT_LENT = r"assertion violated \(lent\["
TOO_MANY_DEATHS = r"assertion violated \(incarnations<"
TOO_FEW_DEATHS = r"assertion violated \(\(deaths_of_poison"
INNOCENT = r"assertion violated \(\(1==1\)&&\(r==0\)\)"

SMALL = "FIRST_MESSAGES=2 SECOND_MESSAGES=1"
KILL = "KILLS=1"
REUSE = "ONE_BLOCK=1 KILLS=1 RUNS_ON=1 CANCELS=1"
MANY = "REQUESTS=3 KILLS=1 LIVE=1 CANCELS=1"
ROGUE = "KILLS=1 ROGUES=1"
CHAIN = "HOPS=2 KILLS=1"
CHAIN_REUSE = "HOPS=2 ONE_BLOCK=1 KILLS=1 CANCELS=1 RUNS_ON=1"
POISON = "POISONS=1 KILLS=0 BATCHES=1"
POISON_AND_KILL = "POISONS=1 KILLS=1 BATCHES=1 LIVE=1"

CASES = [
    Case("quick", "parking", "parking", SMALL, ""),
    Case("quick", "parking without F1", "parking", SMALL + " FAULT_NO_F1", STUCK),
    Case("quick", "a kill", "redispatch", "ONE_BLOCK=1 KILLS=1", ""),
    Case("quick", "not replayed", "redispatch", KILL + " FAULT_NOT_REPLAYED", STUCK),

    Case("parking", "as it is", "parking", "", ""),
    Case("parking", "no F1", "parking", "FAULT_NO_F1", STUCK),
    Case("parking", "no F2", "parking", "FAULT_NO_F2", STUCK),
    Case("parking", "a flag for the epoch", "parking", "FAULT_FLAG", STUCK),
    Case("parking", "no second look", "parking", "FAULT_NO_SECOND_LOOK", STUCK),
    Case("parking", "cleared after the look", "parking", "FAULT_CLEARED_AFTER_LOOK", STUCK),
    Case("parking", "woken is not remembered", "parking", "FAULT_NOT_REMEMBERED",
         r"assertion violated \(wrote!=epoch\)"),
    Case("parking", "an epoch comes again", "parking", "FAULT_EPOCH_REPEATS",
         r"assertion violated \(epoch>last_odd\)"),

    Case("kill", "one kill", "redispatch", KILL, ""),
    Case("kill_late", "the roster first", "redispatch", KILL + " RUNS_ON=1", ""),
    Case("kill_twice", "two kills", "redispatch", "ONE_BLOCK=1 KILLS=2", ""),
    Case("rogue", "a worker forges", "redispatch", ROGUE, ""),
    Case("rogue", "worker not checked", "redispatch", ROGUE + " FAULT_NO_WORKER_CHECK",
         WRONG_ANSWER),
    Case("kill", "not replayed", "redispatch", KILL + " FAULT_NOT_REPLAYED", STUCK),
    Case("kill", "the dead not drained", "redispatch", KILL + " FAULT_NOT_DRAINED",
         LOST_AT_THE_END),
    Case("kill", "the dead drained after the replay", "redispatch", KILL + " FAULT_DRAINED_LATE",
         ANSWERED_TWICE),
    Case("kill", "taken back from the living", "redispatch", KILL + " FAULT_TAKEN_BACK_ALIVE",
         NOT_LENT),
    Case("kill", "seq before the slot", "redispatch", KILL + " FAULT_SEQ_FIRST", LOST_OR_TWICE),
    Case("kill", "input returned late", "redispatch", KILL + " FAULT_RETURN_LATE", NOT_HOME),

    Case("reuse", "a block again", "redispatch", REUSE, ""),
    Case("reuse_many", "three requests, two blocks", "redispatch", MANY, ""),
    Case("reuse", "nothing checked", "redispatch", REUSE + " FAULT_NOT_CHECKED", ANSWERED_TWICE),
    Case("reuse", "answered frees the block", "redispatch", REUSE + " FAULT_RETIRED_FREES",
         USED_EARLY),
    Case("reuse_many", "a flag for the seq", "redispatch", MANY + " FAULT_SEQ_A_FLAG", LOST_OR_TWICE),

    Case("chain", "two stages", "redispatch", CHAIN, ""),
    Case("chain", "attempt not checked", "redispatch", CHAIN + " FAULT_NO_ATTEMPT_CHECK",
         NOT_HOME),
    Case("chain", "a dead peer's link not drained", "redispatch",
         CHAIN + " FAULT_LINK_NOT_DRAINED", LOST_AT_THE_END),
    Case("chain", "no credits", "redispatch", CHAIN + " FAULT_NO_CREDIT", STUCK),
    Case("chain_reuse", "two stages, a block again", "redispatch", CHAIN_REUSE, ""),

    Case("poison", "by signal", "redispatch", POISON, ""),
    Case("poison", "by signal, and a kill", "redispatch", POISON_AND_KILL, ""),
    Case("poison", "without a signal", "redispatch", POISON + " BY_SIGNAL=0", ""),
    Case("poison", "no suspects", "redispatch", POISON + " FAULT_NO_SUSPECTS", TOO_MANY_DEATHS),
    Case("poison", "poison at once", "redispatch", POISON + " FAULT_POISON_AT_ONCE",
         TOO_FEW_DEATHS),
    Case("poison", "blamed without executing", "redispatch",
         POISON_AND_KILL + " FAULT_BLAMED_UNSEEN", INNOCENT),
]


def cpu_seconds():
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def run(command, folder):
    result = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, universal_newlines=True, check=False)
    return result.returncode, result.stdout


def verify(case, constants):
    """What is wrong with a case, or ""; and the number of states."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR")) as folder:
        for path in glob.glob(os.path.join(HERE, "*.pml")) + glob.glob(os.path.join(HERE, "*.inc")):
            shutil.copy(path, folder)
        shutil.copy(constants, os.path.join(folder, "constants.inc"))
        defines = ["-D" + define for define in case.defines.split()]
        status, words = run(["spin", "-a"] + defines + [case.model + ".pml"], folder)
        if status != 0 or not os.path.exists(os.path.join(folder, "pan.c")):
            return "spin: " + words, 0
        status, words = run(["gcc", "-O0" if case.error else "-O1", "-w", "-DSAFETY", "-DCOLLAPSE",
                             "-DMEMLIM=3000", "-o", "pan", "pan.c"], folder)
        if status != 0:
            return "gcc: " + words, 0
        _, words = run(["./pan", "-m10000", "-n"], folder)
        return judge(case, words)


def judge(case, words):
    states = re.search(r"(\d\S*) states, stored", words)
    errors = re.search(r"errors: (\d+)", words)
    if not states or not errors:
        return "no result:\n" + words, 0
    count = int(float(states.group(1)))
    if not case.error and errors.group(1) != "0":
        return "an error:\n" + words, count
    for limit in ("max search depth too small", "out of memory", "memory limit", "not completed"):
        if limit in words and not (case.error and limit == "not completed"):
            return "the search is not complete:\n" + words, count
    if case.error:
        found = errors.group(1) != "0" and re.search(case.error, words)
        return "" if found else f"the planted fault was not found ({case.error}):\n{words}", count
    return "", count


def unplanted():
    """Faults that the models know and no case plants."""
    known = set()
    for path in glob.glob(os.path.join(HERE, "*.pml")) + glob.glob(os.path.join(HERE, "*.inc")):
        with open(path, encoding="utf-8") as file:
            known |= set(re.findall(r"\bFAULT_\w+", file.read()))
    return sorted(known - {word for case in CASES for word in case.defines.split()})


def main(constants, group):
    results = [("every fault is planted", " ".join(unplanted()), 0, 0.0)]
    for case in CASES:
        if case.group != group:
            continue
        begin = cpu_seconds()
        wrong, states = verify(case, constants)
        results.append((case.name, wrong, states, cpu_seconds() - begin))
        print(f"{'FAILED' if wrong else 'ok'}: {case.model}, {case.name}: {states} states, "
              f"{results[-1][3]:.1f} s of CPU {wrong}", flush=True)
    failed = sum(1 for result in results if result[1])
    if os.environ.get("XML_OUTPUT_FILE"):
        with open(os.environ["XML_OUTPUT_FILE"], "w", encoding="utf-8") as file:
            file.write(f'<testsuites><testsuite name={quoteattr(group)} tests="{len(results)}" '
                       f'failures="{failed}">\n')
            for name, wrong, _, seconds in results:
                failure = f"<failure message={quoteattr(wrong)}/>" if wrong else ""
                file.write(f'<testcase name={quoteattr(name)} classname={quoteattr(group)} '
                           f'time="{seconds:.1f}">{failure}</testcase>\n')
            file.write("</testsuite></testsuites>\n")
    if len(results) == 1:
        sys.exit(f"no group '{group}'")
    if results[0][1]:
        print("never planted:", results[0][1])
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
