"""Looking at networks: gradients checked, paths compared, computations explained, figures drawn."""
