"""Errors of training, beyond the TypeError and ValueError of bad arguments."""


class NonFiniteError(ArithmeticError):
    """A loss became NaN or infinite. The network is as it was after the last batch whose loss was finite."""
