"""A research agent that has helpers look things up in a folder of texts, and gives only answers whose quotations hold.

It starts a helper for each thing that it has to know (spawn), goes on when they have answered (join), and quotes. A helper sees its own question
only, so what one reads does not fill another's context. Every quotation is checked against the files, in helpers' answers too. Try it::

    branchwise run examples/research.py:researcher "How are states of a sandbox kept, and when are they dropped?" --files docs --tokens 200000
"""

import re

import branchwise as bw

MOST_LINES = 20

QUOTATION = re.compile(r'"([^"]{12,400})"')


@bw.tool(effects="pure")
async def find(ctx: bw.Context, words: list[str]) -> str:
    """Find the lines of the files in which most of some words stand.

    Args:
        words: what to look for; capitals do not matter
    """
    wanted = [word.lower() for word in words if word.strip()]
    found: list[tuple[int, str]] = []
    for path in await ctx.sandbox.list():
        for number, line in enumerate((await ctx.sandbox.read(path)).decode(errors="replace").splitlines(), start=1):
            if count := sum(word in line.lower() for word in wanted):
                found.append((count, f"{path}:{number}: {line.strip()}"))
    best = sorted(found, key=lambda row: -row[0])[:MOST_LINES]
    return "\n".join(line for _, line in best) or "nothing"


@bw.verifier
async def quoted(candidate: bw.Candidate) -> bw.Verdict:
    """Accept an answer that quotes, and in which every quotation stands in the files, whatever the line breaks."""
    quotations = QUOTATION.findall(candidate.answer or "")
    if not quotations:
        feedback = 'quote at least once, in double quotes ("..."), what your answer rests on'
        return bw.Verdict(0.0, "outcome", "quoted", passed=False, feedback=feedback)
    async with candidate.open(candidate.origin_ref) as files:
        texts = [(await files.read(path)).decode(errors="replace") for path in await files.list()]
    everything = " ".join(" ".join(texts).split())
    made_up = [text for text in quotations if " ".join(text.split()) not in everything]
    feedback = f"this stands nowhere in the files: {made_up[0]!r}" if made_up else ""
    return bw.Verdict(1 - len(made_up) / len(quotations), "outcome", "quoted", passed=not made_up, feedback=feedback)


INSTRUCTIONS = (
    "You answer questions from a folder of texts, which you look through with `find` and `read`. Your answer is short and quotes, in double quotes, "
    "what it rests on, word for word."
)

helper = bw.Agent(
    name="helper",
    instructions=INSTRUCTIONS,
    model="embedded:qwen2.5-coder-1.5b",
    tools=[find, bw.tools.files.only("read")],
    verifiers=[quoted],
    search=bw.search.BestOfN(n=2, depth=6),
    sandbox=bw.sandboxes.Auto(),
    context="list",
    sampling=bw.Sampling(max_tokens=400),
)

researcher = bw.Agent(
    name="researcher",
    instructions=(
        f"{INSTRUCTIONS} You do not look yourself: with `spawn` you start a helper for each thing that you have to know, told in words that need no "
        "others, then you `join` them and answer with what they quote. What a helper says that its verifiers did not accept is not to be used."
    ),
    model="embedded:qwen2.5-coder-1.5b",
    spawn=bw.Spawn(agent=helper, width=4, share=0.8),
    verifiers=[quoted],
    sandbox=bw.sandboxes.Auto(),
    context="list",
    sampling=bw.Sampling(max_tokens=400),
)
