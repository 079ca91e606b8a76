"""Errors of training, beyond the TypeError and ValueError of bad arguments."""


class NonFiniteError(ArithmeticError):
    """A loss became NaN or infinite. The network is as it was after the last batch whose loss was finite."""


class ModelFileError(ValueError):
    """A model file is damaged, cut short, of a newer format, or not one at all. The message has the path."""
