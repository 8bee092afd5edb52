"""Fuzzes a connection with atheris, guided by coverage. Not a test: it runs until it is stopped.

From the project's root, with a Python that atheris has wheels for:

    pip install atheris
    python -m tests.fuzz.atheris_connection                     # stop it with Ctrl-C
    python -m tests.fuzz.atheris_connection corpus/ -max_total_time=60

Arguments go to libFuzzer; a directory keeps what it has found interesting, for the next time. The
first byte of an input says how the rest is cut and what else happens: see `run`.
"""

import sys

from websockets.extensions.permessage_deflate import PerMessageDeflate

from .drive import Driver

_COMPRESSED, _CLOSES, _SENDS, _STALLS = 0x80, 0x40, 0x20, 0x10
_MESSAGE = "x" * 300


def deflate():
    return PerMessageDeflate(True, True, 15, 15)


def run(data):
    """Feed one input to a new connection. Raises what is a bug."""
    if not data:
        return
    plan, data = data[0], data[1:]
    is_compressed = bool(plan & _COMPRESSED)
    driver = Driver(
        capacities=[0, 1, 100] * 5 if plan & _STALLS else (),
        deflate=deflate() if is_compressed else None,
        client_deflate=deflate() if is_compressed else None,
    )
    size = (plan & 0x0F) + 1 if plan & 0x0F else max(1, len(data))
    for number, start in enumerate(range(0, len(data), size)):
        driver.receive(data[start : start + size])
        if plan & _SENDS:
            driver.send(_MESSAGE)
            driver.flush()
        if plan & _CLOSES and number == 3:
            driver.close(4000)
    driver.finish()


def main():
    import atheris  # not among the tests' requirements: it has wheels for few Pythons

    atheris.instrument_all()
    atheris.Setup(sys.argv, run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
