"""Errors of training, beyond the TypeError and ValueError of bad arguments."""


class NonFiniteError(ArithmeticError):
    """A loss became NaN or infinite, or a gradient that is to be clipped: the network is as it was before that batch.

    Or the parameters did, by a step too large for their type from a batch whose loss was finite: that is found at the
    next batch or at the end of the epoch, and the message says so."""


class ModelFileError(ValueError):
    """A model file is damaged, cut short, of a newer format, or not one at all. The message has the path."""
