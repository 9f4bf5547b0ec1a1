"""States of pages: brought back exactly or refused, in whatever way, in whatever process."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from branchwise.core.errors import ActionFailed, ActionHeld, StateDiverged
from branchwise.web import Browser, Click, WebEnvironment, WebSandboxes, World, parse_action

from .conftest import Start
from .hand import do, ref, shown
from .small_site import SmallSite

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

HEAP = """<!doctype html><title>Heap</title><p id="p">0</p>
<script>
// All of its state is in variables; a coin is thrown at every step.
let sum = 0, seen = [];
function step(n) { sum = (sum * 7 + n + Math.floor(Math.random() * 5)) % 1000; seen.push(n); p.textContent = sum;
  const more = document.createElement("button"); more.textContent = `More ${seen.length}.${sum}`; more.onclick = () => step(seen.length);
  document.body.append(more); if (seen.length % 3 === 0) document.querySelector("button").remove(); }
for (let n = 1; n < 5; n++) { const b = document.createElement("button"); b.textContent = `Step ${n}`; b.onclick = () => step(n); document.body.append(b); }
</script>"""
STORED = """<!doctype html><title>Stored</title><p id="p"></p><a href="/stored?next">Next</a>
<script>sessionStorage.n = Number(sessionStorage.n || 0) + (location.search ? 1 : 0); localStorage.m = "kept";
p.textContent = location.search + localStorage.m;</script>"""


async def test_references_mean_the_same_in_a_state_that_was_brought_back(start: Start) -> None:
    """What one was shown can be acted on in every fork, and does the same there as here."""
    supply = await start(kept_contexts=0)
    env = await supply.open()
    await do(env, '"Name"', "fill", text="Ann")
    await do(env, '"Add"')
    seen = await env.observe()
    kept = await env.snapshot()
    add = Click(ref=ref(seen, '"Add"'))
    here = shown(await env.act(add))
    fork = await supply.open(kept)
    assert shown(await fork.act(add)) == here
    assert (supply.ways.opened["replay"], supply.ways.refused) == (1, 0)
    for one in (env, fork):
        await one.close()


async def test_branches_know_nothing_of_each_other(start: Start) -> None:
    """Three forks of one state do different things; each shows its own, and the first still shows the old."""
    supply = await start()
    env = await supply.open()
    await do(env, '"Add"')
    forks = [await env.fork() for _ in range(3)]
    for number, fork in enumerate(forks):
        for _ in range(number):
            await do(fork, '"Add"')
    assert ["x" * (n + 1) in (await fork.observe()).lines for n, fork in enumerate(forks)] == [True] * 3
    assert "x" in (await env.observe()).lines
    for one in (env, *forks):
        await one.close()


async def test_equal_pasts_have_equal_addresses(start: Start) -> None:
    """Doing the same again leads to the same state; something else leads elsewhere, nothing to nothing new."""
    supply = await start()
    refs: list[str] = []
    for words in ('"Add"', '"Add"', '"Later"'):
        env = await supply.open()
        await env.observe()
        began = await env.snapshot()
        assert await env.snapshot() == began
        await do(env, words)
        refs.append(await env.snapshot())
        await env.close()
    assert refs[0] == refs[1] != refs[2]


async def test_a_context_waits_open_for_its_branch_to_go_on(start: Start) -> None:
    """The first child takes it, the second does it all again; both are where the parent was."""
    supply = await start()
    env = await supply.open()
    await do(env, '"Add"')
    kept = await env.snapshot()
    await env.close()
    both = [await supply.open(kept) for _ in range(2)]
    texts = [(await one.observe()).lines for one in both]
    assert texts[0] == texts[1]
    assert dict(supply.ways.opened) == {"kept": 1, "replay": 1}
    for one in both:
        await one.close()


async def test_a_start_page_waits_ready_for_the_next_replay(start: Start, site: SmallSite) -> None:
    """Once a state had to be done again, the next time nothing is loaded for it; one that has gone meanwhile is made anew."""
    supply = await start(kept_contexts=0)
    env = await supply.open()
    await do(env, '"Add"')
    before, kept = await env.observe(), await env.snapshot()
    await env.close()
    for number in range(3):
        ready = None if supply._waiting._task is None else await supply._waiting._task
        assert (ready is None) == (number == 0)
        if number == 2:
            assert ready is not None
            await ready.live.context.close()
        asked = site.asked("GET", "/")
        fork = await supply.open(kept)
        assert (await fork.observe()).lines == before.lines
        if number == 1:
            assert ready in supply._open
            assert site.asked("GET", "/") - asked <= 1  # that of the page made ready for the next
        await fork.close()
    assert (supply.ways.opened["replay"], supply.ways.refused) == (3, 0)


async def test_a_start_page_in_which_nothing_was_done_is_begun_in(start: Start, site: SmallSite) -> None:
    """Whoever only looked leaves it to the next one, if it has not changed; who has begun twice finds one ready the third time."""
    site.pages["/calm"] = (
        "<!doctype html><title>Calm</title><p id=p>x</p><button onclick='p.textContent += 1'>Add</button>"
    )
    supply = await start("/calm")
    first = await supply.first_look(None)
    for change in ("0", "p.textContent = 'y'", "0"):
        env = await supply.open()
        assert (await env.observe()).text == first
        await env.evaluate(change)
        await env.close()

    assert site.asked("GET", "/calm") == 2  # the first, and the one after that which was changed
    for loaded, ready in (
        (2, False),
        (4, True),
    ):  # who begins again finds nothing, but from then on there is one for the next
        env = await supply.open()
        await do(env, '"Add"')
        await env.close()
        task = supply._waiting._task
        assert (task is not None) == ready
        if task is not None:
            await task
        assert site.asked("GET", "/calm") == loaded
    assert supply.open_contexts == 1


async def test_what_a_start_page_says_is_told(start: Start, site: SmallSite) -> None:
    """Messages from before the first look are part of it, for everybody who begins there."""
    site.pages["/loud"] = "<!doctype html><title>Loud</title><p>x</p><script>alert('Hello there')</script>"
    supply = await start("/loud")
    for _ in range(2):
        env = await supply.open()
        assert (await env.observe()).said == ("Hello there",)
        await env.close()


async def test_state_that_lies_in_storage_is_cloned(start: Start, site: SmallSite) -> None:
    """No step is done again: the server is asked for the last page only."""
    site.pages["/stored"] = STORED
    supply = await start("/stored", kept_contexts=0)
    env = await supply.open()
    for _ in range(2):
        await do(env, '"Next"')
    before = await env.observe()
    kept = await env.snapshot()
    asked = site.asked("GET", "/stored")
    fork = await supply.open(kept)
    assert (await fork.observe()).lines == before.lines
    assert await fork.evaluate("[sessionStorage.n, localStorage.m]") == ["3", "kept"]
    assert (dict(supply.ways.opened), site.asked("GET", "/stored") - asked) == ({"clone": 1}, 1)
    for one in (env, fork):
        await one.close()


async def test_state_in_scripts_is_not_cloned(start: Start, site: SmallSite) -> None:
    """A clone that shows something else is thrown away, and all is done again."""
    site.pages["/mixed"] = STORED.replace("</script>", "document.title += window.name; window.name += '+';</script>")
    supply = await start("/mixed", kept_contexts=0)
    env = await supply.open()
    site.pages["/stored"] = site.pages["/mixed"]
    for _ in range(2):
        await do(env, '"Next"')
    before = await env.observe()
    fork = await supply.open(await env.snapshot())
    assert (await fork.observe()).title == before.title == "Stored++"
    assert dict(supply.ways.opened) == {"replay": 1}
    for one in (env, fork):
        await one.close()


async def test_a_server_that_remembers_is_found_out(start: Start, site: SmallSite) -> None:
    """The page counts its visitors, so no state of it comes back; it is refused, and says which step was different."""
    site.pages["/door"] = "<!doctype html><title>Door</title><a href='/count'>In</a>"
    supply = await start("/door", kept_contexts=0)
    env = await supply.open()
    await do(env, '"In"')
    kept = await env.snapshot()
    await env.close()
    fork = await supply.open(kept)
    with pytest.raises(StateDiverged, match=r"step 1 of 1 \(click\) led to another page than before"):
        await fork.observe()
    assert supply.ways.refused == 1
    await fork.close()


async def test_what_changes_by_itself_can_be_left_out(start: Start, site: SmallSite) -> None:
    """The same page, with the counter ignored, comes back."""
    site.pages["/door"] = "<!doctype html><title>Door</title><a href='/count'>In</a>"
    supply = await start("/door", kept_contexts=0, ignore=("p",))
    env = await supply.open()
    await do(env, '"In"')
    fork = await supply.open(await env.snapshot())
    assert (await fork.observe()).title == "Count"
    for one in (env, fork):
        await one.close()


async def test_random_walks_come_back_exactly(start: Start, site: SmallSite) -> None:
    """Ten branch points of a page whose state is in its scripts and which throws coins: what comes back is what was there."""
    site.pages["/heap"] = HEAP
    supply = await start("/heap", kept_contexts=0)
    rng = random.Random(5)
    for _ in range(10):
        env = await supply.open()
        for _ in range(rng.randint(1, 5)):
            seen = await env.observe()
            await env.act(Click(ref=rng.choice(re.findall(r"\[(e\d+)\] button", seen.text))))
        before = await env.observe()
        fork = await supply.open(await env.snapshot())
        assert (await fork.observe()).lines == before.lines
        assert await fork.evaluate("[sum, seen]") == await env.evaluate("[sum, seen]")
        await env.close()
        await fork.close()
    assert (supply.ways.opened["replay"], supply.ways.refused) == (10, 0)


async def test_without_a_seed_coins_fall_anew(start: Start, site: SmallSite) -> None:
    """What makes the walks come back is the seed: left to chance, the same page is refused."""
    site.pages["/heap"] = HEAP
    supply = await start("/heap", kept_contexts=0, seed=None)
    refused = 0
    for _ in range(2):
        env = await supply.open()
        for n in range(1, 5):
            await do(env, f'"Step {n}"')
        fork = await supply.open(await env.snapshot())
        try:
            await fork.observe()
        except StateDiverged:
            refused += 1
        await env.close()
        await fork.close()
    assert refused == 2


async def test_states_outlive_their_process(start: Start, site: SmallSite, tmp_path: Path) -> None:
    """Another supply on the same folder, as after a kill, brings them back with their files and references."""
    supply = await start()
    env = await supply.open()
    await do(env, '"Add"')
    await env.write("notes.txt", b"mine")
    before, kept = await env.observe(), await env.snapshot()
    await env.close()
    other = await Browser(site.url + "/").start("test", tmp_path / "states")
    fork = await other.open(kept)
    assert (await fork.observe()).lines == before.lines
    assert await fork.read("notes.txt") == b"mine"
    assert await fork.list() == ["notes.txt"]
    assert [step.action["do"] for step in fork.history] == ["click"]
    await fork.close()
    await other.aclose()


async def test_an_upload_is_repeated_with_what_was_given(start: Start) -> None:
    """The file of the work space is another by now; the page gets the old one again."""
    supply = await start("/parts", kept_contexts=0)
    env = await supply.open()
    await env.write("a.txt", b"first")
    await do(env, 'file "File"', "upload", paths=["a.txt"])
    await env.write("a.txt", b"second")
    fork = await supply.open(await env.snapshot())
    await fork.observe()
    assert await fork.evaluate("f.files[0].text()") == "first"
    assert await fork.read("a.txt") == b"second"
    for one in (env, fork):
        await one.close()


# --- what cannot be taken back ---


@pytest.mark.parametrize(
    ("words", "sent", "why"),
    [
        ('"Do it"', ("POST", "/order"), "sends a form by POST"),
        ('"Keep"', ("POST", "/api"), "sends POST"),
        ('"Delete everything"', ("GET", "/second"), "says 'Delete'"),
    ],
)
async def test_what_cannot_be_taken_back_is_held(
    start: Start, site: SmallSite, words: str, sent: tuple[str, str], why: str
) -> None:
    """Nothing reaches the server, the page is as before; committed to, it is done, once, and never again."""
    supply = await start("/sending", kept_contexts=1)
    env = await supply.open()
    await do(env, '"Harmless"')
    before = await env.observe()
    with pytest.raises(ActionHeld, match=why):
        await do(env, words)
    assert site.asked(*sent) == 0
    assert (await env.observe()).lines == before.lines
    await do(env, words, final=True)
    assert site.asked(*sent) == 1
    kept = await env.snapshot()
    await env.close()
    again = await supply.open(kept)
    await again.observe()
    await again.act(parse_action({"do": "goto", "url": site.url + "/second"}))
    await again.close()
    lost = await supply.open(kept)
    with pytest.raises(StateDiverged, match="step 2 was done for good and is not done again"):
        await lost.observe()
    assert site.asked(*sent) == (1 if sent[1] != "/second" else 2)
    await lost.close()


class Worlds:
    """Gives every branch a number, and the same page to all."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opened: list[OneWorld] = []

    async def open(self) -> World:
        """Return a new one."""
        self.opened.append(OneWorld(self.url, len(self.opened)))
        return self.opened[-1]


class OneWorld:
    """Told from others by a header."""

    def __init__(self, url: str, number: int) -> None:
        self.url = url
        self.headers = {"x-world": str(number)}
        self.closed = False

    async def close(self) -> None:
        """Note it."""
        self.closed = True


async def test_a_site_that_can_be_had_afresh_holds_nothing(site: SmallSite, tmp_path: Path) -> None:
    """Every branch has a world of its own, in which orders are placed and placed again; none stays open."""
    worlds = Worlds(site.url + "/sending")
    supply = await Browser(site=worlds, kept_contexts=0).start("test", tmp_path / "states")
    env = await supply.open()
    await do(env, '"Do it"')
    fork = await supply.open(await env.snapshot())
    assert "POST /order" in (await fork.observe()).text
    assert site.asked("POST", "/order") == 2
    assert await env.world() is not await fork.world()
    for one in (env, fork):
        await one.close()
    await supply.aclose()
    assert len(worlds.opened) >= 2
    assert all(world.closed for world in worlds.opened)


async def test_secrets_are_filled_in_and_never_shown(start: Start, site: SmallSite, tmp_path: Path) -> None:
    """The page gets the value, a look shows its name, and no file of any state holds it."""
    site.pages["/echo"] = (
        "<!doctype html><title>Echo</title><input aria-label=Key oninput='p.textContent = this.value'><p id=p></p>"
    )
    supply = await start("/echo", secrets={"door": "open sesame 17"}, kept_contexts=0)
    env = await supply.open()
    outcome = await do(env, '"Key"', "fill", secret="door")
    assert await env.evaluate("p.textContent") == "open sesame 17"
    assert "sesame" not in outcome.told
    assert "door" in outcome.told
    kept = await env.snapshot()
    assert [
        path for path in (tmp_path / "states").rglob("*") if path.is_file() and b"sesame" in path.read_bytes()
    ] == []
    fork: WebEnvironment = await supply.open(kept)
    await fork.observe()
    assert await fork.evaluate("p.textContent") == "open sesame 17"
    with pytest.raises(ActionFailed, match="there is no secret 'window'"):
        await do(fork, '"Key"', "fill", secret="window")
    for one in (env, fork):
        await one.close()


async def test_a_supply_never_has_more_contexts_than_it_may(start: Start) -> None:
    """Those that wait for their branch to go on make way."""
    supply: WebSandboxes = await start(contexts=2, kept_contexts=1)
    for _ in range(3):
        both = [await supply.open() for _ in range(2)]
        for env in both:
            await do(env, '"Add"')
        assert supply.open_contexts == 2
        for env in both:
            await env.snapshot()
            await env.close()
        assert supply.open_contexts == 1
