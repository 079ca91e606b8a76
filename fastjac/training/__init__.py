"""How a network is trained: the loop, its callbacks, checkpoints, progress."""
