"""Boxes for tests: anywhere in a frame, and often where mistakes are made."""

import numpy as np
from hypothesis import strategies as st

ROWS, COLUMNS = 3, 4  # cells of a frame
FRAME = (32 * ROWS, 32 * COLUMNS)  # pixels


@st.composite
def spans(draw, length):
    """The edges of a box along one axis; many lie, or have their middle, on a cell's border."""
    edges = st.integers(0, length) | st.sampled_from(range(0, length + 1, 16))
    low, high = sorted(draw(st.tuples(edges, edges).filter(lambda pair: pair[0] != pair[1])))
    return low, high


@st.composite
def box_rows(draw, most=15, frame=FRAME):
    """Rows (M, 5) of int as a file has them; some are not used."""
    rows = []
    for _ in range(draw(st.integers(0, most))):
        (ymin, ymax), (xmin, xmax) = draw(spans(frame[0])), draw(spans(frame[1]))
        unused = draw(st.integers(0, 9)) == 0
        rows.append([-1] * 5 if unused else [ymin, xmin, ymax, xmax, draw(st.integers(0, 3))])
    return np.array(rows, np.int32).reshape(-1, 5)


def full_grid(generator):
    """A box around the middle of every cell, in random order."""
    cells = generator.permutation(np.argwhere(np.ones((ROWS, COLUMNS))))
    half = generator.integers(1, 60, cells.shape)
    middle = 32 * cells + generator.integers(0, 32, cells.shape)
    kinds = generator.integers(0, 4, len(cells))
    return np.column_stack([middle - half, middle + half, kinds])
