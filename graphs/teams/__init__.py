"""Teams: graphs of several searches and calls that make one answer together (`Agent(team=...)`)."""
