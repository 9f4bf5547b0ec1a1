"""A planner, a solver and a verifier that repair a small Python repository, none of them taking another's word.

The planner says what the repair must fulfil, and may divide the work. The solver searches, guided by the tests. The last word has a verifier
that did not guide it and asks for more than the tests do: a repair is small. What it says goes into the next round. Try it::

    branchwise run examples/team.py:team "Make the failing tests pass." --files examples/repos/primes --seconds 600
"""

import difflib

import branchwise as bw

MOST_LINES = 12


@bw.verifier(scope="state")
def small(candidate: bw.Candidate) -> bw.Verdict:
    """Accept what changes a few lines of the program and nothing of its tests."""
    origin, state = candidate.origin_ref, candidate.node.env_ref
    assert origin is not None
    assert state is not None
    after, gone = candidate.diff(origin, state)
    before, _ = candidate.diff(state, origin)
    lines = 0
    for path, content in after.items():
        old, new = before.get(path, b"").decode().splitlines(), content.decode().splitlines()
        lines += sum(line[:1] in "+-" for line in list(difflib.unified_diff(old, new, n=0, lineterm=""))[2:])
    if tests := [path for path in (*after, *gone) if path.startswith("tests/")]:
        return bw.Verdict(0.0, "outcome", "small", passed=False, feedback=f"leave the tests alone: {', '.join(tests)}")
    passed = lines <= MOST_LINES
    feedback = "" if passed else f"{lines} lines are new or gone, {MOST_LINES} are enough: change only what is wrong"
    return bw.Verdict(min(1.0, MOST_LINES / max(1, lines)), "outcome", "small", passed=passed, feedback=feedback)


team = bw.Agent(
    name="team",
    instructions=(
        "You repair Python programs. Some tests fail because one function is wrong. Write that function anew, complete and correct, with the "
        "tool `rewrite`, and change as little as possible. In `thought` name the function and say in one sentence what it must do."
    ),
    model="embedded:qwen2.5-coder-1.5b",
    plan=bw.Planner(most_parts=2),
    tools=[bw.tools.rewrite],
    verifiers=[bw.verifiers.Tests("python3 -m pytest -q --tb=short -p no:cacheprovider", timeout_seconds=30)],
    search=bw.search.BestFirst(width=4, depth=3),
    final=[small],
    rounds=2,
    sandbox=bw.sandboxes.Auto(),
    context=["*.py"],
    outline=True,
    sampling=bw.Sampling(max_tokens=400, temperature=0.8),
)
