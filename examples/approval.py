"""An agent that writes letters, and a person who reads each before it goes out: now, or next week in another process.

    python examples/approval.py "Invite Ann and Bob to the tests on Friday at ten."
    python examples/approval.py --run RUN                              # what does it wait for?
    python examples/approval.py --run RUN --answer ID yes              # or no, or the letter as it should be: {"to": ..., "body": ...}

A letter that was let go is a file in the folder `outbox`. A run that waits holds nothing: no process, no model, no sandbox.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import branchwise as bw

OUTBOX = Path("outbox")


@bw.tool(effects="external")
def send(to: str, body: str) -> str:
    """Send a letter.

    Args:
        to: who gets it
        body: the whole letter
    """
    OUTBOX.mkdir(exist_ok=True)
    number = len(list(OUTBOX.iterdir())) + 1
    (OUTBOX / f"{number:03}.txt").write_text(f"To: {to}\n\n{body}\n")
    return f"sent as number {number}"


def clerk(model: str) -> bw.Agent:
    """Return the agent. Nothing with effects outside is done before a person has allowed it: `approve="external"` is the default."""
    return bw.Agent(
        name="clerk",
        instructions="You write letters for your user with `send`, one for each person. Where something is unclear, ask with `ask_user`.",
        model=model,
        tools=[send, bw.tools.ask_user],
        form="json",
        sampling=bw.Sampling(max_tokens=300, temperature=0.3),
    )


def meaning(question: bw.Question, text: str) -> Any:
    """Return an answer as the run takes it: for a letter yes, no with a reason, or the letter as it should be."""
    if question.kind == "ask":
        return text
    if text.startswith("{"):
        return {"approved": True, "arguments": json.loads(text)}
    return True if text == "yes" else {"approved": False, "reason": text}


async def main() -> None:
    """Begin a run, or go on with one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", help="what to write")
    parser.add_argument("--run", help="go on with this run")
    parser.add_argument("--answer", nargs=2, action="append", default=[], metavar=("ID", "ANSWER"))
    parser.add_argument("--model", default="embedded:qwen2.5-coder-1.5b")
    given = parser.parse_args()
    agent = clerk(given.model)
    if given.run is None:
        if given.task is None:
            parser.error("say what to write, or which run to go on with")
        result = await agent.run(given.task, budget=bw.Budget(tokens=50_000))
    else:
        result = await agent.resume(given.run)  # still waits: nothing is paid for again
        open_questions = {question.id: question for question in result.questions}
        if unknown := [name for name, _ in given.answer if name not in open_questions]:
            sys.exit(f"there is no open question {unknown[0]}; open are: {', '.join(open_questions) or 'none'}")
        if given.answer:
            answers = {name: meaning(open_questions[name], text) for name, text in given.answer}
            result = await agent.resume(given.run, answers=answers)
    for question in result.questions:
        print(f"{question.id}: {question.text} {json.dumps(dict(question.arguments))}")
    if result.stop_reason == "waiting":
        print(f"go on with: python examples/approval.py --run {result.run_id} --answer ID yes")
    else:
        print(result.answer)


if __name__ == "__main__":
    import asyncio

    asyncio.run(main())
