"""Speed-ups of Deep Learning at 15PF, figures 6b and 7b, as far as they are known: see ``certain``.

Of strong scaling the text also says that sync gains nothing past 512 nodes.
"""

from minidl.simulate.published import Published

PUBLISHED = (
    Published("strong", "sync", 512, 320, 320),
    Published("strong", "sync", 1024, 320, 320),
    Published("strong", "hybrid-2", 1024, 580, 580),
    Published("strong", "hybrid-4", 1024, 780, 780),
    Published("weak", "sync", 2048, 1750, 1750),
    Published("weak", "hybrid-2", 2048, 1850, 1850),
)
