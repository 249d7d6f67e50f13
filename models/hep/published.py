"""Speed-ups of Deep Learning at 15PF, figures 6a and 7a, as far as they are known: see ``certain``.

Of strong scaling the text also says that sync gains nothing past 256 nodes.
"""

from minidl.simulate.published import Published

PUBLISHED = (
    Published("strong", "hybrid-2", 1024, 280, 280),
    Published("strong", "hybrid-4", 1024, 580, 580),
    Published("weak", "hybrid-2", 1024, 575, 750),
    Published("weak", "hybrid-4", 1024, 575, 750),
    Published("weak", "hybrid-2", 2048, 1150, 1250),
    Published("weak", "hybrid-4", 2048, 1150, 1250),
)
