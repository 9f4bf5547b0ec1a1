"""An agent that does a task in a shop: its trajectories are searched, each on pages and in a shop of its own.

    python examples/shopper.py                                  # lists the tasks of the shop in this folder
    python examples/shopper.py green-cushion [--model NAME] [--tokens 30000]

What the agent knows is the goal and the pages. A guide of a few lines steers the search; whether the task is done is looked up
behind the pages, in the shop's own state.
"""

from __future__ import annotations

import argparse
import asyncio
import re

from shop import TASKS, Shop

import branchwise as bw
from branchwise.web.tasks import WebTask

MODEL = "embedded:qwen2.5-coder-1.5b"


@bw.verifier(name="on the way", scope="state", semantics="value")
def on_the_way(candidate: bw.Candidate) -> float:
    """How many of the task's names and numbers are on the page or were typed, and in its title: whoever sees what is spoken of is near it."""
    wanted = set(re.findall(r"\b(?:[A-Z][a-z]+|\d+)\b", candidate.task.prompt)) - {"Put", "Log", "Take", "Have", "The"}
    step, place = candidate.node.step, candidate.node.place
    if step is None or place is None or not wanted:
        return 0.2
    seen = " ".join([*(one.text for one in step.observations), *(str(dict(call.arguments)) for call in step.calls)])
    failed = not all(one.ok for one in step.observations)
    idle = "nothing has changed" in seen or "the page is again" in seen
    near = 0.4 * sum(word in seen for word in wanted) + 0.3 * sum(word in place.title for word in wanted)
    return 0.1 if failed or idle else 0.2 + near / len(wanted)


def shopper(task: WebTask, model: str | bw.Model, *, search: bool = True) -> bw.Agent:
    """Return the agent.

    Args:
        task: what is to be done, with what tells that it was done.
        model: `provider:model` or a `Model`.
        search: whether its trajectories are searched; else it is an agent like any other.
    """
    done = bw.verifiers.WebCheck(task, scope="state")
    return bw.agents.web(
        task,
        model=model,
        name="shopper",
        verifiers=[done, on_the_way] if search else [done],
        search=bw.search.BestFirst(width=2, depth=10) if search else bw.search.BestOfN(n=1, depth=10),
        sampling=bw.Sampling(max_tokens=120, temperature=0.6 if search else 0.0),
    )


async def main() -> None:
    """Do one of the shop's tasks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", choices=list(TASKS), metavar="TASK")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--tokens", type=int, default=30_000)
    given = parser.parse_args()
    if given.task is None:
        print("\n".join(f"{name}: {task.goal}" for name, task in TASKS.items()))
        return
    with Shop() as shop:
        task = TASKS[given.task].on(shop)
        agent = shopper(task, given.model)
        result = await agent.run(task.goal, budget=bw.Budget(tokens=given.tokens), seed=1)
    for node in result.tree.path(result.node) if result.node is not None else []:
        if node.place is not None and node.place.action:
            print(f"{node.place.action} -> {node.place.address}")
    print(f"{'done' if result.accepted else 'not done'}: {result.answer or result.stop_detail}")


if __name__ == "__main__":
    asyncio.run(main())
