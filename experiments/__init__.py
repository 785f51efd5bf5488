"""Programs: `python -m experiments.imdb`. Notebooks and tests call their `run(config)`."""
