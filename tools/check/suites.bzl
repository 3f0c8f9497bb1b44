"""The four kinds of tests, by tag: a test without one of these tags is a unit test.

unit    fast, one library, nothing left running: the default
e2e     starts processes of Millrace
stress  long: contention, kills, floods; `tools/dev stress` runs them
gpu     needs a device to test anything (skips itself where there is none)
"""

_SUITES = {
    "unit": ["-e2e", "-gpu", "-manual", "-stress"],
    "e2e": ["e2e", "-stress"],
    "stress": ["stress"],
    "gpu": ["gpu"],
}

def test_suites():
    """The suites of one package; the last line of each BUILD file that has tests."""
    for name, tags in _SUITES.items():
        native.test_suite(
            name = name + "_tests",
            tags = tags,
            visibility = ["//:__pkg__"],
        )

def root_test_suites(packages):
    """//:unit, //:e2e, //:stress and //:gpu: the suites of all packages together."""
    for name in _SUITES:
        native.test_suite(
            name = name,
            tests = ["//%s:%s_tests" % (package, name) for package in packages],
        )
