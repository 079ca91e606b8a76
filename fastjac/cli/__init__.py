"""The command line: train, predict, evaluate, compare, bench, info."""

from __future__ import annotations

import errno
import importlib
import sys
import traceback
import warnings
from typing import Any

import click

import fastjac as fj
from fastjac.cli import output

# what each command does, and the module that has it: imported when it is called, as the library behind it takes a while
_COMMANDS = {
    "bench": (
        "Measure kernels against the machine's roof, and training against installed peers.",
        "fastjac.benchmarks.command",
    ),
    "compare": ("Compute one batch by kernels, by NumPy and by Jacobians.", "fastjac.cli.inspection"),
    "evaluate": ("Print how well a saved network does.", "fastjac.cli.using"),
    "info": ("Show versions, the CPU and the cache of kernels.", "fastjac.cli.inspection"),
    "predict": ("Predict the rows of a table by a saved network.", "fastjac.cli.using"),
    "train": ("Train a network and print how well it does.", "fastjac.cli.training"),
}

_EXAMPLES = """
\b
Examples:
  fastjac train digits
  fastjac train digits --hidden 64 --activation tanh --epochs 50
  fastjac train wine.csv --target quality --hidden 32 --save wine.safetensors
  fastjac predict wine.safetensors new.csv -o predicted.csv
  fastjac evaluate wine.safetensors test.csv
  fastjac train path/to/mnist --hidden 128
  fastjac compare digits
  fastjac bench --only steps --workloads digits
  fastjac info
"""


class _Commands(click.Group):
    """The commands of ``_COMMANDS``; an unknown one is refused as every unknown name is, and each takes --debug."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with output.telling():  # of the help
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, context: click.Context) -> Any:
        with output.telling():
            return super().invoke(context)

    def list_commands(self, context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.commands and name in _COMMANDS:
            command: click.Command = getattr(importlib.import_module(_COMMANDS[name][1]), name)
            command.params.append(_debug_option())
            self.add_command(command, name)
        return self.commands.get(name)

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if arguments[0] not in _COMMANDS and not arguments[0].startswith("-"):
            from fastjac.kernels.arrays import unknown

            context.fail(str(unknown("command", arguments[0], self.list_commands(context))))
        return super().resolve_command(context, arguments)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (what, _) in _COMMANDS.items()])


# what speaks for itself; any other error is a fault of this program, and says so by its name
_EXPECTED = (OSError, ValueError, TypeError, ArithmeticError, MemoryError, ImportError)


_OF_STREAMS = (errno.ENOSPC, errno.EBADF, errno.EIO)  # where no file is named


class _Settings:
    """What holds for all commands."""

    debug = False


def _note_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().obj.debug = True


def _debug_option() -> click.Option:
    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_note_debug,
        help="Show where an error comes from.",
    )


@click.group(
    cls=_Commands,
    epilog=_EXAMPLES,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(fj.__version__, prog_name="fastjac")
@click.pass_context
def commands(context: click.Context) -> None:
    """Train small neural networks fast on a CPU, and see how backpropagation works."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


commands.params.append(_debug_option())


def _say(message: object) -> None:
    output.note(f"fastjac: {' '.join(str(message).split())}")


def _show_warning(message: object, *rest: object) -> None:
    _say(message)


def run(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C, 141 where the reader of the output
    has gone. Errors take one line."""
    settings = _Settings()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            code = commands.main(args=arguments, prog_name="fastjac", standalone_mode=False, obj=settings)
        if sys.stdout is not None:
            with output.telling():
                sys.stdout.flush()
    except click.ClickException as error:
        _say(error.format_message())
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _say("interrupted")
        sys.exit(130)
    except output.NobodyReads:
        output.let_go()
        _say("ended, as nobody reads the output any more")
        sys.exit(141)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OF_STREAMS and error.filename is None:
            output.let_go()
            error = OSError(f"the output can't be written: {error.strerror}")
        if settings.debug:
            traceback.print_exc()
        if isinstance(error, _EXPECTED) and str(error):
            _say(error)
        else:
            _say(f"{type(error).__name__}: {error}; --debug shows where it comes from")
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
