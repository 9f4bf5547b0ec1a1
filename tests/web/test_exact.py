"""What makes forks of pages exact: things are pressed when they are there, states are told apart by all that counts, and replays are waited for."""

from __future__ import annotations

import pytest

from branchwise.core.errors import ActionFailed
from branchwise.web import Click, WebEnvironment, WebSandboxes

from .conftest import Start
from .hand import do, ref, shown
from .small_site import SmallSite

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

LATE = """<!doctype html><title>Late</title><style>.like { display: inline-block; height: 30px; content: url(/early.svg); }
.like:hover { content: url(/late.svg); }</style>
<div onclick="told.textContent = event.target.className || 'beside'" class="row"><span class="like" onclick="1"></span></div><p id="told"></p>"""
RISING = """<!doctype html><title>Rising</title><style>.over { display: none; position: fixed; inset: 0; }
.under:hover + .over, .over:hover { display: block; }</style>
<button class="under">Buy</button><div class="over" role="dialog" aria-label="Offer">A better offer</div>"""
CONDITIONS = """<!doctype html><title>Conditions</title><div id="d" data-state="shut">x</div><input id="i" value="caret"><input type="checkbox" id="c">
<div id="w" style="width: 50px; overflow: auto"><p style="width: 500px">wide</p></div><div popover=manual id="p">over</div>
<svg><path id="s" d="M0 0h9"/></svg><div id="h"></div>
<script>const root = h.attachShadow({ mode: "closed" }); root.innerHTML = "<button>Inside</button><button>Beside</button>";</script>"""
CHANGES = (
    "d.dataset.state = 'open'",
    "i.focus(); i.setSelectionRange(1, 3)",
    "c.indeterminate = true",
    "w.scrollLeft = 200",
    "p.showPopover()",
    "s.setAttribute('d', 'M0 0v9')",
    "root.querySelectorAll('button')[0].focus()",
    "root.querySelectorAll('button')[1].focus()",
)
HASTY = """<!doctype html><title>Hasty</title><button id="b" onclick="this.textContent = 'Done'; setTimeout(() => { ready = 1; }, 150)">Do</button>
<script>let ready = 0;</script>"""


async def test_nothing_is_pressed_before_it_is_there(start: Start, site: SmallSite) -> None:
    """What gets another picture under the pointer has no size until that is loaded; the click is its own all the same."""
    site.pages["/late"] = LATE
    supply = await start("/late")
    env = await supply.open()
    seen = await env.observe()
    outcome = await env.act(Click(ref=ref(seen, ".like")))
    assert "like" in shown(outcome).splitlines()
    await env.close()


async def test_what_comes_over_a_thing_is_named(start: Start, site: SmallSite) -> None:
    """Where something rises over what the pointer is moved to, that is not pressed instead."""
    site.pages["/rising"] = RISING
    supply = await start("/rising")
    env = await supply.open()
    with pytest.raises(ActionFailed, match="covered by .* dialog 'Offer'"):
        await do(env, '"Buy"')
    await env.close()


async def _fingerprint(supply: WebSandboxes, env: WebEnvironment, script: str = "0") -> str:
    """Return the fingerprint of a page once a script has run in it, and a button was pressed that does nothing."""
    await env.evaluate(script)
    await do(env, '"Go"')
    past = supply.past(await env.snapshot())
    assert past is not None
    return past.seal.fingerprint


async def test_all_that_counts_is_part_of_the_fingerprint(start: Start, site: SmallSite) -> None:
    """States of scripts in attributes, carets, undecided boxes, what is scrolled aside, what lies on top, lines of drawings."""
    site.pages["/conditions"] = CONDITIONS + '<button onmousedown="event.preventDefault()">Go</button>'
    supply = await start("/conditions")
    env = await supply.open()
    plain = await _fingerprint(supply, env)
    assert await _fingerprint(supply, env) == plain
    found = [await _fingerprint(supply, env, change) for change in CHANGES]
    assert len({plain, *found}) == len(CHANGES) + 1
    await env.close()


async def test_what_is_made_up_anew_is_no_part_of_it(start: Start, site: SmallSite) -> None:
    """Identifiers, times and tokens in attributes differ from load to load, and two loads are the same state."""
    site.pages["/tokens"] = (
        "<!doctype html><title>Tokens</title><div id=t>x</div><button>Go</button><script>"
        "t.dataset.time = Date.now(); t.dataset.key = crypto.randomUUID(); t.nonce = t.id = crypto.randomUUID();</script>"
    )
    supply = await start("/tokens")
    envs = [await supply.open() for _ in range(2)]
    one, other = [await _fingerprint(supply, env) for env in envs]
    assert one == other
    for env in envs:
        await env.close()


async def test_a_replay_is_over_when_nothing_goes_on(start: Start, site: SmallSite) -> None:
    """A page that shows what it showed may not be done: what it does without showing it is waited for, too."""
    site.pages["/hasty"] = HASTY
    supply = await start("/hasty", kept_contexts=0)
    env = await supply.open()
    await do(env, '"Do"')
    assert await env.evaluate("ready") == 1
    kept = await env.snapshot()
    await env.close()
    for _ in range(2):
        fork = await supply.open(kept)
        assert await fork.evaluate("ready") == 1
        await fork.close()
    assert supply.ways.opened["replay"] == 2


async def test_pages_that_blink_come_back(start: Start, site: SmallSite) -> None:
    """A cursor that is to be seen half of the time is waited for in the half in which it was."""
    site.pages["/blink"] = (
        "<!doctype html><title>Blink</title><p id=p>x</p><button onclick='p.textContent += 1'>Add <i id=i>_</i></button>"
        "<script>setInterval(() => { i.hidden = !i.hidden; }, 250)</script>"
    )
    supply = await start("/blink", kept_contexts=0, settle_seconds=4.0)  # a loaded machine may look late
    env = await supply.open()
    for _ in range(2):
        await do(env, '"Add')
    kept = await env.snapshot()
    await env.close()
    for _ in range(3):
        fork = await supply.open(kept)
        assert await fork.evaluate("p.textContent") == "x11"
        await fork.close()
    assert (supply.ways.opened["replay"], supply.ways.refused) == (3, 0)
