"""The operators' console script: `line-requests`, against AWS or whatever AWS_ENDPOINT_URL names."""

import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter

from line_requests import telemetry
from line_requests.operator import render
from line_requests.operator.errors import EXPECTED, mistakes, one_line
from line_requests.operator.groups import deployment, keys, lines, personal_data, plans
from line_requests.operator.refusal import Incomplete, View
from line_requests.operator.target import ENVIRONMENT, Target

DONE, FAILED, USAGE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141
EXIT_CODES = """\
Exit codes:
  0  done
  1  refused, failed or done in part; the reason is on stderr
  2  the command line is wrong
  130, 141  interrupted; the reader of a pipe has gone"""

app = App(
    name="line-requests",
    help="Plans, workspaces, keys and lines of one deployment.",
    help_format="plaintext",
    help_epilogue=f"{ENVIRONMENT}\n\n{EXIT_CODES}",
    version_flags=["--version"],
    result_action="return_value",
)
for group in (plans.app, personal_data.app, keys.app, lines.app, lines.provisioning):
    app.command(group)
deployment.register(app)
app.register_install_completion_command(help="Install the shell's completion.")
app.meta.group_parameters = Group("Options of every command", sort_key=9)


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    stack: Annotated[str | None, Parameter(help="The deployment, by its CloudFormation stack.")] = None,
    json: Annotated[bool, Parameter(negative="", help="JSON instead of text, errors too.")] = False,
) -> int:
    command, bound, passed = app.parse_args(tokens, exit_on_error=False, print_error=False)
    if "target" not in passed:  # help or version
        command(*bound.args, **bound.kwargs)
        return DONE
    try:
        with _own_words_only():
            view: View = command(*bound.args, **bound.kwargs, target=Target(stack))
    except Incomplete as incomplete:
        render.print_view(incomplete.view, as_json=json)
        render.print_error(str(incomplete), as_json=json)
    except EXPECTED as error:
        render.print_error(one_line(error), mistakes(error), as_json=json)
    else:
        render.print_view(view, as_json=json)
        return DONE
    return FAILED


@contextmanager
def _own_words_only() -> Iterator[None]:
    """Keeps logs and metrics, which are for CloudWatch, off the operator's terminal."""
    level = telemetry.logger.log_level
    telemetry.logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        telemetry.logger.setLevel(level)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code."""
    tokens = sys.argv[1:] if argv is None else list(argv)
    try:
        code: int = app.meta(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        render.print_error(" ".join(str(error).split()), as_json="--json" in tokens)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more at its end: https://docs.python.org/3/library/signal.html
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return code or DONE
