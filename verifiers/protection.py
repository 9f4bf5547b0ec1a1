"""The files that decide what the tests are: put back before a run, and seen to be the same after it."""

from __future__ import annotations

import fnmatch
import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..core.errors import VerifierError
from ..core.protocols import Candidate, Environment
from .conversation import Unusable, only_answer, question
from .guest_code import program

PROTECTED = (
    "test_*.py",
    "*_test.py",
    "conftest.py",
    "tests/*",
    "test/*",
    "pytest.ini",
    ".pytest.ini",
    "pytest.toml",
    ".pytest.toml",
    "tox.ini",
    "setup.cfg",
    "pyproject.toml",
    ".coveragerc",
    "Makefile",
    "makefile",
    "GNUmakefile",
    "sitecustomize.py",
    "usercustomize.py",
    "*.pth",
    "*.egg-info/*",
    "*.dist-info/*",
)
"""Files that decide what the tests are, or that a Python loads by itself; patterns match a path or the end of it."""

_RUNNERS = frozenset(
    ["pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "exceptiongroup", "tomli", "py"]
)
_ROOTS = frozenset(["", "src", "lib"])
_LIMIT_BYTES = 16 << 20


@dataclass(frozen=True)
class Originals:
    """The protected files of a task as they were before the agent touched it."""

    files: Mapping[str, bytes]
    links: Mapping[str, str]
    """Protected links and where they point to."""
    paths: frozenset[str]
    """All paths of the task's files."""

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of each protected file."""
        return {path: hashlib.sha256(content).hexdigest() for path, content in self.files.items()}

    def expected(self) -> dict[str, str | None]:
        """What `look` must find."""
        files = {path: "f" + digest for path, digest in self.digests.items()}
        return {**files, **{path: "l" + target for path, target in self.links.items()}}


def covers(patterns: Sequence[str], path: str) -> bool:
    """Return whether a path matches one of the patterns."""
    return any(fnmatch.fnmatch(path, p) or fnmatch.fnmatch(path, f"*/{p}") for p in patterns)


def shadows(path: str, roots: Iterable[str] = ()) -> bool:
    """Return whether a file would be imported in place of a module of Python or of the test runner.

    Args:
        path: the file.
        roots: folders that are searched for modules, beside the usual ones.
    """
    for root in {*_ROOTS, *roots}:
        inner = path.removeprefix(f"{root}/") if root else path
        if root and inner == path:
            continue
        name, _, rest = inner.partition("/")
        module = name if rest else name.partition(".")[0]
        is_module = bool(rest) or name.endswith((".py", ".so", ".pyc"))
        if is_module and (module in sys.stdlib_module_names or module in _RUNNERS):
            return True
    return False


async def originals(candidate: Candidate, patterns: Sequence[str]) -> Originals:
    """Read the protected files of a candidate's task."""
    async with candidate.open(None) as empty:
        nothing = await empty.snapshot()
    contents, _ = candidate.diff(nothing, candidate.origin_ref or nothing)
    files = {path: content for path, content in contents.items() if covers(patterns, path)}
    async with candidate.open(candidate.origin_ref) as environment:
        paths = frozenset(await environment.list())
        links = [path for path in sorted(paths - contents.keys()) if covers(patterns, path)]
        found = await look(environment, links) if links else {}
    return Originals(files, {path: (what or "l")[1:] for path, what in found.items()}, paths)


async def restore(
    environment: Environment, candidate: Candidate, kept: Originals, patterns: Sequence[str]
) -> list[str]:
    """Make the protected files in an environment what they were; return those that were not.

    Raises:
        VerifierError: they could not be restored.
    """
    origin, state = candidate.origin_ref, candidate.node.env_ref
    if origin is None or state is None or origin == state:
        return []
    present = await environment.list()
    changed, gone = candidate.diff(origin, state)
    broken = {path for path in (*changed, *gone) if path in kept.files}
    if kept.links:
        broken |= {
            path for path, what in (await look(environment, kept.links)).items() if what != "l" + kept.links[path]
        }
    roots = {path.rpartition("/")[0] for path in kept.files if path.endswith(".py")}
    extra = {p for p in present if p not in kept.paths and (covers(patterns, p) or shadows(p, roots))}
    # A link or a file may have taken the place of a folder: written through, it would carry a test elsewhere.
    folders = {"/".join(parts[:n]) for parts in (p.split("/") for p in kept.files) for n in range(1, len(parts))}
    doomed = extra | (folders & set(present)) | (broken & set(present))
    if doomed:
        await environment.exec(["rm", "-rf", "--", *sorted(doomed)], timeout_seconds=30)
    for path in sorted(broken & kept.files.keys()):
        await environment.write(path, kept.files[path])
    for path in sorted(broken & kept.links.keys()):
        await environment.exec(["ln", "-sfn", "--", kept.links[path], path], timeout_seconds=10)
    left = [p for p in await environment.list() if p in extra] if extra else []
    wrong = [*left, *await changes(environment, kept)]
    if wrong:
        raise VerifierError(f"the task's tests could not be put back: {', '.join(sorted(wrong)[:5])}")
    return sorted({*broken, *extra, *(folders & set(present))})


async def changes(environment: Environment, kept: Originals) -> list[str]:
    """Return the protected files that are not what they were."""
    expected = kept.expected()
    found = await look(environment, expected)
    return sorted(path for path, what in expected.items() if found.get(path) != what)


async def look(environment: Environment, paths: Iterable[str]) -> dict[str, str | None]:
    """Return what lies at the paths, as `guest_files.content` says it.

    Raises:
        VerifierError: the sandbox does not say.
    """
    identity, line = question({"paths": sorted(paths)})
    result = await environment.exec(
        program("guest_link", "guest_files"), stdin=line, timeout_seconds=60, output_limit_bytes=_LIMIT_BYTES
    )
    try:
        found: dict[str, str | None] = only_answer(result.stdout, identity)["found"]
    except (Unusable, KeyError) as error:
        raise VerifierError(
            f"the sandbox does not say what the test files are: {error}; {result.stderr[-300:]}"
        ) from error
    return found
