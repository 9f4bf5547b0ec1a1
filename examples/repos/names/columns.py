"""Columns of a table."""

from names import camel


def header(columns):
    """Return the header of a table in camelCase."""
    return [camel(column) for column in columns]
