"""The command line: thin commands over the rest, one module each. Importing it loads neither numpy nor torch."""

import sys

import typer
from pydantic import ValidationError

from magellon.cli.backends import list_backends
from magellon.cli.clean import clean_home
from magellon.cli.console import say_error
from magellon.cli.demo.command import run_demo
from magellon.cli.doctor.command import run_doctor
from magellon.cli.export.command import export_session
from magellon.cli.importing.command import import_folder
from magellon.cli.plugin.command import app as plugin_app
from magellon.cli.problems import describe_problems
from magellon.cli.process.command import process_folder
from magellon.cli.run.command import OWN_FLAGS, run_step
from magellon.cli.show import show_file
from magellon.cli.simulate import simulate
from magellon.cli.train.command import train_app
from magellon.cli.up.command import serve_home
from magellon.cli.user.command import user_app
from magellon.cli.worker import run_worker
from magellon.errors import MagellonError

app = typer.Typer(
    name="magellon",
    help="Cryo-EM from raw movies to clean, classified particles.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("simulate", context_settings=OWN_FLAGS)(simulate)
app.command("process")(process_folder)
app.command("import")(import_folder)
app.command("up")(serve_home)
app.command("run", context_settings=OWN_FLAGS)(run_step)
app.command("export")(export_session)
app.command("backends")(list_backends)
app.command("doctor")(run_doctor)
app.command("show")(show_file)
app.command("demo")(run_demo)
app.command("worker")(run_worker)
app.command("clean")(clean_home)
app.add_typer(plugin_app, name="plugin")
app.add_typer(user_app, name="user")
app.add_typer(train_app, name="train")


def main() -> None:
    """Run the command line. A failure of a known kind is one line on standard error and status 1, not a traceback."""
    try:
        app()
    except MagellonError as error:
        say_error(str(error))
        sys.exit(1)
    except ValidationError as error:
        say_error(describe_problems(error))
        sys.exit(1)
    except BrokenPipeError:  # `magellon backends | head`
        sys.stderr.close()
        sys.exit(1)
