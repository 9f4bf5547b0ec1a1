"""The shop's pages, a module for each part of the shop."""

from . import account, board, cart, catalogue, letters, workshops

ROUTERS = (catalogue.router, cart.router, account.router, workshops.router, board.router, letters.router)

__all__ = ["ROUTERS"]
