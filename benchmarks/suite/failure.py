"""What goes wrong in a benchmark."""


class SuiteError(Exception):
    """Nothing can be measured: something is missing on this machine."""


class MeasurementError(Exception):
    """One figure can't be had: a peer does not hold what is asked of it."""
