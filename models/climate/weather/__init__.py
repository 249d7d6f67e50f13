"""Synthetic weather: sixteen fields of a date, and boxes around the storms that were put in.

A planet is drawn on a coarse lattice of the whole sphere, from real monthly sea temperatures and
orography, thermal-wind jets and random flow with cyclones in it; then it is looked at through a
grid, at full resolution, where one day's transport draws out fronts and filaments, and tropical
cyclones and atmospheric rivers are added. ``frame.make_frame`` does it all.

Two frames of the same date share its tropical cyclones, which are real; the rest is drawn anew, so
frames of consecutive hours do not follow from one another.
"""
