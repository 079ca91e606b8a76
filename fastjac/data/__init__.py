"""Data: what comes with fastjac (``fastjac.datasets``), tables, and how columns become the arrays a network takes."""
