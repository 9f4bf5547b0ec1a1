"""Simulated worlds: test doubles with the interface of the real thing, in which every value is known and nothing costs anything."""
