"""A table of high scores, lowest first."""

from search import position


class Table:
    def __init__(self):
        self.scores = []

    def add(self, score):
        """Insert a score; return how many are lower."""
        place = position(self.scores, score)
        self.scores.insert(place, score)
        return place

    def best(self):
        return self.scores[-1]
