"""An Archon: five attempts, a critic, a ranker and a fuser that make one answer to a question of arithmetic.

Each attempt and the fusion are searches of the agent; the critic and the ranker are single calls. Which layers suit your own tasks is found by
a search under a cap of model calls, on exercises whose answers are known::

    branchwise run examples/archon.py:solver "A robe takes 2 bolts of blue fibre and half that much white fibre. How many bolts is that?"
    branchwise tune examples/archon.py:solver --tasks exercises.jsonl --same number --calls 2000
"""

import branchwise as bw

solver = bw.Agent(
    name="solver",
    instructions='You solve problems. Think in at most four short sentences. End with a line "answer: NUMBER".',
    model="embedded:qwen2.5-coder-1.5b",
    form="native",
    team=bw.teams.Archon(
        [
            bw.teams.Generator(samples=5, temperature=0.8),
            bw.teams.Critic(),
            bw.teams.Ranker(top=3),
            bw.teams.Fuser(temperature=0.2),
        ]
    ),
    sampling=bw.Sampling(max_tokens=200),
)
