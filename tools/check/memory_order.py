"""The rule that every memory order says in a comment what it is for, and that what it says is true.

A site is a named order, a memory model's Fence(), or a call on an atomic that names none (seq_cst)
in what runs. Its comment stands on its line or ends in the three lines above, and begins with the
order (`release:`, `release fence:`) or a label (`fence F1:`). After that
- relaxed gives a reason;
- every other order `meets` a partner, which must exist and hold a site of an opposite order:
  Class::Function, Function of this file, Function in path/of/file.cc, path/of/file.cc, or the
  label of a fence, which must meet this one;
- a label stands for a seq_cst fence;
- or it says `as above`: the same order's comment, a few lines above in the same function.
"""

import re
from collections import namedtuple

from tree import Finding, line_of

CPP = (".h", ".cc", ".cu", ".cuh")
NEAR = 3  # lines above a site in which its comment ends
ABOVE = 12  # lines above a comment in which what it calls `above` stands
REASON = 3  # words
# Where an atomic call that names no order is a site: what runs, not its tests.
STRICT = ("ipc/", "services/runtime/", "services/supervisor/", "services/ingress/")
TEST = re.compile(r"/(?:testing|model)/|(?:^|/)test_\w+\.\w+$|_(?:test|stress)\.cc$|_for_test\.\w+$")

SYNCHRONISES = {"acquire", "release", "acq_rel", "seq_cst", "consume"}
OPPOSITE = {
    "acquire": {"release", "acq_rel", "seq_cst"},
    "consume": {"release", "acq_rel", "seq_cst"},
    "release": {"acquire", "consume", "acq_rel", "seq_cst"},
    "acq_rel": SYNCHRONISES,
    "seq_cst": SYNCHRONISES,
}

_NOT_CODE = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.DOTALL)
_ORDER = re.compile(r"\bmemory_order(?:_|::)(relaxed|consume|acquire|release|acq_rel|seq_cst)\b")
_CALL = re.compile(r"(?:\.|->)(load|store|exchange|fetch_(?:add|sub|and|or|xor)|"
                   r"compare_exchange_(?:weak|strong))\s*\(")
_MODEL_FENCE = re.compile(r"\b\w+::Fence\(\)")  # of a memory model (ipc/memory_model.h)
_OPENING = re.compile(r"\b(?:(relaxed|consume|acquire|release|acq_rel|seq_cst)( fence)?"
                      r"|fence (F\d+)):(?=\s|$)")
_PARTNER = re.compile(r"(?:(?P<of>[A-Z]\w*) in )?(?P<path>\b[\w./]+/[\w.]+\.(?:cc|cuh|cu|h)\b)"
                      r"|(?P<label>\bF\d+\b)"
                      r"|(?P<class>\b[A-Z]\w*)::(?P<function>~?\w+)"
                      r"|\b(?:in|of|and) (?P<local>[A-Z]\w*)\b(?!::| in [\w.]+/)")

Site = namedtuple("Site", "line offset order fence")
# What a comment says of one order: `words` are what follows its opening.
Entry = namedtuple("Entry", "first last order fence label words")


def code_of(text):
    """The text with comments, strings and characters blanked; offsets and lines stay."""
    return _NOT_CODE.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def closing(code, start):
    """The offset behind the bracket that closes the one before `start`."""
    pairs = {"(": 1, "{": 1, ")": -1, "}": -1}
    depth = 1
    for i in range(start, len(code)):
        depth += pairs.get(code[i], 0)
        if depth == 0:
            return i + 1
    return len(code)


def statement_of(code, offset):
    return code[max(code.rfind(mark, 0, offset) for mark in ";{}") + 1:offset]


class Source:
    """One file: its sites, its comments' entries, its functions."""

    def __init__(self, path, text):
        self.path = path
        self.code = code_of(text)
        self.sites = sorted(self._sites(), key=lambda site: site.offset)
        self.entries = list(self._entries(text)) if self.sites else []

    def _sites(self):
        for match in _ORDER.finditer(self.code):
            fence = re.search(r"fence\w*\s*\(\s*(?:\w+::)*$",
                              statement_of(self.code, match.start()), re.IGNORECASE)
            yield Site(line_of(self.code, match.start()), match.start(), match.group(1),
                       bool(fence))
        for match in _MODEL_FENCE.finditer(self.code):
            yield Site(line_of(self.code, match.start()), match.start(), "seq_cst", True)
        if self.path.startswith(STRICT) and not TEST.search(self.path):
            for match in _CALL.finditer(self.code):
                arguments = self.code[match.end():closing(self.code, match.end()) - 1]
                loads = match.group(1) == "load"
                if "order" not in arguments and bool(arguments.strip()) != loads:
                    yield Site(line_of(self.code, match.start()), match.start(), "seq_cst", False)

    def _entries(self, text):
        """Comments in lines that follow each other are one; each opening in it is an entry."""
        comments = {}  # line: what stands behind the slashes
        for match in re.finditer(r"//[^\n]*", text):
            if self.code[match.start()] == " ":
                comments.setdefault(line_of(text, match.start()), match.group(0).lstrip("/ "))
        openings = []
        for line, words in comments.items():
            openings += [(line, match) for match in _OPENING.finditer(words)]
        for at, (line, match) in enumerate(openings):
            following = openings[at + 1] if at + 1 < len(openings) else (0, None)
            words, last = comments[line][match.end():], line
            if following[0] == line:
                words = comments[line][match.end():following[1].start()]
            else:
                # Only lines that hold nothing but a comment carry it on.
                while last + 1 in comments and last + 1 != following[0] and self._blank(last + 1):
                    last += 1
                    words += " " + comments[last]
            yield Entry(line, last, match.group(1), bool(match.group(2) or match.group(3)),
                        match.group(3), words.strip())

    def _blank(self, line):
        return not self.code.splitlines()[line - 1].strip()

    def entries_for(self, site):
        """Those that speak of a site: on its line, else in the nearest comment above."""
        on_line = [e for e in self.entries if e.first == site.line]
        if on_line:
            return on_line
        nearest = []
        for entry in reversed(self.entries):
            follows = nearest and entry.last + 1 == nearest[-1].first and self._blank(entry.last)
            if follows or (not nearest and site.line - NEAR <= entry.last < site.line):
                nearest.append(entry)
        return nearest

    def bodies(self, function, class_name=None):
        """(start, end) of the definitions of a function; of a class, if one is named."""
        found = []
        for match in re.finditer(r"(?<![\w~])%s\s*\(" % re.escape(function), self.code):
            behind = closing(self.code, match.end())
            opening = re.compile(r"[\w\s:<>&*,\[\]-]*\{").match(self.code, behind)
            if opening:
                found.append((match.start(), closing(self.code, opening.end())))
        if class_name is None:
            return found
        qualified = r"\b%s\s*(?:<[^<>;{}]*>)?\s*::\s*$" % re.escape(class_name)
        own = [b for b in found if re.search(qualified, self.code[:b[0]][-200:])]
        for match in re.finditer(r"\b(?:class|struct)\s+(?:[\w()]+\s+)*?%s\b[^;{}()]*\{"
                                 % re.escape(class_name), self.code):
            end = closing(self.code, match.end())
            own += [b for b in found if match.start() < b[0] < end]
        return own

    def orders(self, places=None):
        return {site.order for site in self.sites
                if places is None or any(a <= site.offset < b for a, b in places)}


class Judge:
    """What is wrong with a site, in words, or None."""

    def __init__(self, sources):
        self.sources = {source.path: source for source in sources}
        self.labels = {}  # label: the labels that its fences say they meet
        for source in sources:
            for entry in source.entries:
                if entry.label:
                    self.labels.setdefault(entry.label, set()).update(self._labels_met(entry))

    @staticmethod
    def _labels_met(entry):
        return set(re.findall(r"\bF\d+\b", entry.words.partition("meets")[2]))

    def site(self, source, site):
        candidates = source.entries_for(site)
        entries = [e for e in candidates if e.order == site.order and (site.fence or not e.fence)]
        if site.fence and site.order == "seq_cst":
            entries += [e for e in candidates if e.label]
        if not entries:
            form = f"{site.order}{' fence' * site.fence}: ..."
            named = sorted({e.order or e.label for e in candidates})
            instead = f", not {', '.join(named)}" if named else ""
            return (f"a comment (this line or the three above) must begin `{form}`{instead}, "
                    "and say what it meets or why it may be relaxed")
        entry = max(entries, key=lambda e: (e.first, bool(e.label)))
        if re.match(r"as above\b", entry.words):
            return self._above(source, entry)
        if site.order == "relaxed":
            return self._reason(entry)
        return self._meets(source, site, entry)

    def _above(self, source, entry):
        lines = source.code.splitlines()
        for other in reversed(source.entries):
            if other.first >= entry.first or other.order != entry.order or other.fence != entry.fence:
                continue
            between = lines[other.last - 1:entry.first]
            if other.last < entry.first - ABOVE or any(line.startswith("}") for line in between):
                break
            if not re.match(r"as above\b", other.words):
                return None
        return f"`as above`: no `{entry.order or entry.label}:` a few lines above in this function"

    @staticmethod
    def _reason(entry):
        if re.match(r"(?:as|see)\b", entry.words):
            return "say the reason here; only `as above` may refer, to the same function"
        if len(re.findall(r"\w+", entry.words)) < REASON:
            return "relaxed: say in a few words why no order is needed"
        return None

    def _meets(self, source, site, entry):
        met = re.search(r"\bmeets\b(.*?)(?:[.;](?:\s|$)|$)", entry.words)
        partners = list(_PARTNER.finditer(met.group(1))) if met else []
        if not partners:
            return (f"{entry.label or site.order}: say `meets ... in Class::Function`, a function "
                    "of this file, a file's path, or a fence's label")
        for partner in partners:
            wrong = self._partner(source, site, entry, partner)
            if wrong:
                return wrong
        return None

    def _partner(self, source, site, entry, partner):
        name = partner.group(0)
        if partner.group("label"):
            return self._label(entry, name)
        if partner.group("path"):
            found = self._in_file(partner.group("path"), partner.group("of"))
        elif partner.group("class"):
            found = self._in_class(partner.group("class"), partner.group("function"))
        else:
            bodies = source.bodies(partner.group("local"))
            found = source.orders(bodies) if bodies else None
        if found is None:
            return f"`{name.strip()}` is not in the tree"
        if not found & OPPOSITE[site.order]:
            return f"`{name.strip()}` has no site that a {site.order} can meet"
        return None

    def _label(self, entry, name):
        if name not in self.labels:
            return f"no fence is labelled {name}"
        if not entry.label:
            return f"a fence that meets {name} needs a label of its own"
        if name == entry.label:
            return f"fence {name} cannot meet itself; on other threads it does so as `seq_cst:`"
        if entry.label not in self.labels[name]:
            return f"fence {name} does not say that it meets {entry.label}"
        return None

    def _in_file(self, path, function):
        source = self.sources.get(path)
        if source is None or function is None:
            return source and source.orders()
        bodies = source.bodies(function)
        return source.orders(bodies) if bodies else None

    def _in_class(self, class_name, function):
        """The orders in Class::Function; of a file where its text cannot be told, all of them."""
        whole = re.compile(r"\b%s\b" % re.escape(class_name))
        called = re.compile(r"(?<!\w)%s\s*\(" % re.escape(function))
        files = [s for s in self.sources.values() if whole.search(s.code) and called.search(s.code)]
        defined = [(s, s.bodies(function, class_name)) for s in files]
        defined = [(s, bodies) for s, bodies in defined if bodies]
        if not defined:
            defined = [(s, s.bodies(function) or None) for s in files]
        if not defined:
            return None
        return set().union(*(s.orders(bodies) for s, bodies in defined))


def memory_order(tree):
    """Each order's comment names it, and a partner that is there."""
    sources = [Source(path, text) for path, text in tree.files(CPP)]
    judge = Judge(sources)
    for source in sources:
        said = set()
        for site in source.sites:
            wrong = judge.site(source, site)
            if wrong and (site.line, wrong) not in said:
                said.add((site.line, wrong))
                yield Finding(source.path, site.line, "memory_order", wrong)
