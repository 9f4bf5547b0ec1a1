"""An agent that repairs a small Python repository until its tests pass.

Try it::

    branchwise run examples/coder.py:coder "Make the failing tests pass." --files examples/repos/names --seconds 300
"""

import branchwise as bw

coder = bw.Agent(
    name="coder",
    instructions=(
        "You repair Python programs. Some tests fail because one function is wrong. You see the outline of the program and the "
        "failing tests. The wrong function is one that the failing tests mention. Write it anew, complete and correct, with the "
        "tool `rewrite`, so that it does what its docstring and the tests say. Leave out the docstring and use single quotes. "
        "In `thought` name the function and say in one sentence what it must do."
    ),
    model="embedded:qwen2.5-coder-1.5b",
    tools=[bw.tools.rewrite],
    verifiers=[bw.verifiers.Tests("python3 -m pytest -q --tb=short -p no:cacheprovider", timeout_seconds=30)],
    search=bw.search.BestFirst(width=4, depth=3),
    sandbox=bw.sandboxes.Auto(),
    context=["*.py"],  # the program; what the tests say comes from the verifier
    outline=True,
    sampling=bw.Sampling(max_tokens=400, temperature=0.8),
)
