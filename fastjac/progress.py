"""stub"""
from contextlib import contextmanager
@contextmanager
def bar(progress, epochs):
    yield lambda *a, **k: None
