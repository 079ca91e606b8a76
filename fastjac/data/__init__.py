"""Data that comes with fastjac; see ``fastjac.datasets``."""
