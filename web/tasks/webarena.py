"""Files of tasks in WebArena's format: read, checked, and made into tasks whose checks are typed. Nothing in them is run as Python.

Zhou et al. (2024), WebArena, https://github.com/web-arena-x/webarena (`config_files/*.json`, `evaluation_harness`). Differs:
words are matched as whole words and addresses part by part, where the original looks for one text anywhere in another; a check
asks every part rather than stopping at the first that fails; texts that mean the same are judged by whom the caller names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ...core.errors import UsageError
from ...sandboxes.network import Allow
from .checks import AllOf, AnswerIncludes, AnswerIs, AnswerLike, AnyOf, Judge, UrlIs
from .task import Check, WebTask
from .webarena_pages import HELPERS, Contents, Helper, PageHas, parse_call

_EITHER = " |OR| "
_ALSO = " |AND| "
_NOT_ACHIEVABLE = "N/A"


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _References(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    exact_match: str | None = None
    must_include: tuple[str, ...] = ()
    fuzzy_match: tuple[str, ...] | Literal["N/A"] = ()


class _Target(_Row):
    url: str
    locator: str = ""
    required_contents: Contents
    prep_actions: tuple[str, ...] = ()


class _Eval(_Row):
    eval_types: tuple[Literal["string_match", "url_match", "program_html"], ...] = Field(min_length=1)
    reference_answers: _References | None = None
    reference_url: str | None = ""
    program_html: tuple[_Target, ...] | None = ()
    string_note: str = ""
    url_note: Literal["GOLD in PRED"] = "GOLD in PRED"


class WebArenaConfig(_Row):
    """One task as a file has it."""

    task_id: int
    intent: str
    sites: tuple[str, ...] = ()
    start_url: str
    require_login: bool = False
    storage_state: str | None = None
    """Path of the cookies with which it begins, as the file says it; making it is the business of who runs the sites."""
    require_reset: bool = False
    eval: _Eval


_FILE: TypeAdapter[list[WebArenaConfig]] = TypeAdapter(list[WebArenaConfig])


def read_webarena(
    path: Path, sites: Mapping[str, str], *, judge: Judge | None = None, helpers: Mapping[str, Helper] | None = None
) -> list[WebTask]:
    """Return the tasks of a file, in its order.

    Args:
        path: a file with one task or a list of them.
        sites: addresses by the names that files have for them, for example `{"SHOPPING": "http://127.0.0.1:7770"}` for
            `__SHOPPING__`.
        judge: says whether an answer means what a `fuzzy_match` says; unless given, words are compared.
        helpers: what files call in checks beside what is known here, such as `shopping_get_latest_order_url`, which
            needs an account of the shop's administrator. Each gets the page and the texts that the file gives.

    Raises:
        UsageError: it is no such file, names a site or helper that is not given, or asks for what is not known.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the file of tasks {path} cannot be read: {error.strerror}") from error
    data = _parsed(text, path)
    for name, url in sites.items():
        data = _replaced(data, f"__{name}__", url.rstrip("/"))
    try:
        rows = _FILE.validate_python(data if isinstance(data, list) else [data])
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:4])
        raise UsageError(f"{path} is no file of WebArena's tasks: {told}") from error
    known = {**HELPERS, **(helpers or {})}
    return [_task(row, sites, judge, known) for row in rows]


def _parsed(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path} is no JSON: {error}") from error


_Plain: TypeAlias = "str | int | float | bool | list[_Plain] | dict[str, _Plain] | None"


def _replaced(data: _Plain, name: str, url: str) -> _Plain:
    if isinstance(data, str):
        return data.replace(name, url)
    if isinstance(data, list):
        return [_replaced(item, name, url) for item in data]
    if isinstance(data, dict):
        return {key: _replaced(item, name, url) for key, item in data.items()}
    return data


def _task(row: WebArenaConfig, sites: Mapping[str, str], judge: Judge | None, helpers: Mapping[str, Helper]) -> WebTask:
    name = f"webarena-{row.task_id}"
    start, *others = row.start_url.split(_ALSO)
    if urlsplit(start).scheme not in {"http", "https", "file"}:
        given = ", ".join(sites) or "none"
        raise UsageError(f"{name} begins at {start!r}, whose address is not known; sites={{...}} names: {given}")
    goal = row.intent + (f"\nAlso needed: {' and '.join(others)}" if others else "")
    hosts = {urlsplit(url).netloc for url in (start, *others, *sites.values())} - {""}
    settings: dict[str, Any] = {"allow": Allow(*sorted(hosts))} if hosts else {}
    checks = [_check(kind, row, judge, helpers) for kind in row.eval.eval_types]
    return WebTask(name, goal, start, checks[0] if len(checks) == 1 else AllOf(tuple(checks)), settings)


def _check(kind: str, row: WebArenaConfig, judge: Judge | None, helpers: Mapping[str, Helper]) -> Check:
    match kind:
        case "string_match":
            return _answer(row, judge)
        case "url_match":
            if not row.eval.reference_url:
                raise UsageError(f"webarena-{row.task_id} is judged by its address, but names none in reference_url")
            return UrlIs(tuple(row.eval.reference_url.split(_EITHER)), below=True)
        case _:
            return _pages(row, helpers)


def _answer(row: WebArenaConfig, judge: Judge | None) -> Check:
    wanted = row.eval.reference_answers
    checks: list[Check] = []
    if wanted is not None and wanted.exact_match is not None:
        checks.append(AnswerIs((wanted.exact_match,)))
    if wanted is not None and wanted.must_include:
        checks.append(AnswerIncludes(wanted.must_include))
    if wanted is not None and wanted.fuzzy_match == _NOT_ACHIEVABLE:
        said: Check = AnswerIs((_NOT_ACHIEVABLE,))
        note = row.eval.string_note
        checks.append(AnyOf((said, AnswerLike((note,), judge))) if note else said)
    elif wanted is not None and wanted.fuzzy_match:
        checks.append(AnswerLike(tuple(wanted.fuzzy_match), judge))
    if not checks:
        raise UsageError(f"webarena-{row.task_id} is judged by its answer, but has no reference_answers")
    return checks[0] if len(checks) == 1 else AllOf(tuple(checks))


def _pages(row: WebArenaConfig, helpers: Mapping[str, Helper]) -> Check:
    targets = row.eval.program_html or ()
    if not targets:
        raise UsageError(f"webarena-{row.task_id} is judged by its pages, but names none in program_html")
    checks: list[PageHas] = [
        PageHas(
            "" if target.url == "last" else parse_call(target.url, helpers),
            parse_call(target.locator, helpers),
            target.required_contents,
            target.prep_actions,
        )
        for target in targets
    ]
    # Those about the last page come before the others leave it.
    first = [check for check in checks if not check.url]
    return AllOf((*first, *(check for check in checks if check.url)))
