"""Is a gradient right, and if not, what is wrong with it?"""
