"""What everything else stands on: types, events, the tree, the budget, errors, protocols. No I/O."""
