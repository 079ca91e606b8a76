"""``python -m fastjac`` and the ``fastjac`` command."""

import sys


def main() -> None:
    """Run the command line, or say what it needs."""
    try:
        try:
            import click  # noqa: F401
        except ImportError:
            sys.exit("the command line needs click and rich: pip install 'fastjac[cli]'")
        from fastjac.cli import run

        run()
    except KeyboardInterrupt:  # before or after what ``run`` looks after
        print("fastjac: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
