"""The two scientific problems of the paper, a folder each."""
