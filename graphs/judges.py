"""What a run's verifiers need of it: models of their own, and the moment at which candidates are compared."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack

from ..agents.agent import Agent
from ..core.errors import UsageError
from ..core.protocols import AsksModels, Composed, Model, Strategy, Verifier
from ..models.accounts import Accounted
from ..models.retry import Retrying
from ..search.comparing import Comparing


def all_parts(verifiers: Sequence[Verifier]) -> Iterator[Verifier]:
    """Yield the verifiers that judge by themselves: those of composed ones in their place."""
    for verifier in verifiers:
        if isinstance(verifier, Composed):
            yield from all_parts(verifier.parts)
        else:
            yield verifier


def comparing(agent: Agent, strategy: Strategy) -> Strategy:
    """Return the strategy with a comparison at its end where the agent has verifiers that compare."""
    names = tuple(verifier.name for verifier in agent.verifiers if verifier.scope == "set")
    if not names or getattr(strategy, "compares", False):  # it asks them by itself
        return strategy
    return strategy.asking(names) if isinstance(strategy, Comparing) else Comparing(strategy, names)


async def open_model(model: str | Model, stack: AsyncExitStack) -> Model:
    """Return a model; one that is named is opened, and closed with the stack."""
    if not isinstance(model, str):
        return model
    from ..models.registry import connect  # the clients of the servers take their time to load

    opened = await connect(model)
    stack.push_async_callback(opened.aclose)
    return opened


async def open_judges(agent: Agent, main: Accounted, stack: AsyncExitStack) -> dict[str, Model]:
    """Return the models that verifiers have for themselves, by name, under the run's budget and in its log of calls.

    Raises:
        UsageError: two different models have the same name.
        ModelError, CatalogError: one could not be had.
    """
    given = {main.name: agent.model}
    judges: dict[str, Model] = {}
    for verifier in all_parts(agent.verifiers):
        for model in verifier.own_models if isinstance(verifier, AsksModels) else ():
            name = model if isinstance(model, str) else model.name
            if not isinstance(model, str) and given.get(name, model) not in (model, name):
                raise UsageError(
                    f"verifier {verifier.name!r} has a model called {name!r}, and so has another one; rename one"
                )
            if name in judges:
                continue
            if name == main.name:
                judges[name] = Retrying(main)
                continue
            given[name] = model
            opened = await open_model(model, stack)
            gate = asyncio.Semaphore(opened.slots)
            judges[name] = Retrying(Accounted(opened, main.ledger, main.log, gate))
    return judges
