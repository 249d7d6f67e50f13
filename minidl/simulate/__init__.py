"""How long training takes on machines that are not here, by the strategies' own code."""
