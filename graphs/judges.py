"""What a run's verifiers need of it: models of their own, and the moment at which candidates are compared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

from ..agents.agent import Agent
from ..agents.redundancy import is_verifier
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


async def open_judges(
    agent: Agent, main: Accounted, paid: Callable[[str | Model], Awaitable[Model]]
) -> dict[str, Model]:
    """Return the models that verifiers have for themselves, by name.

    Args:
        agent: whose verifiers they are.
        main: the agent's own model.
        paid: opens a model whose calls count in the run's budget and log.

    Raises:
        UsageError: two different models have the same name.
        ModelError, CatalogError: one could not be had.
    """
    given = {main.name: agent.model}
    judges: dict[str, Model] = {}
    compares = [agent.spawn.alike] if agent.spawn is not None and is_verifier(agent.spawn.alike) else []
    for verifier in all_parts([*agent.verifiers, *compares]):
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
            judges[name] = Retrying(await paid(model))
    return judges
