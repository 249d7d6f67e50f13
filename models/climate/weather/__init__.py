"""Synthetic weather: fields that obey the balances of the atmosphere, with storms put into them."""
