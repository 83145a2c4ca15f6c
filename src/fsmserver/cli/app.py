"""The commands and their options. What is wrong with them is said in one plain sentence, with exit code 2."""

import inspect
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fsmserver import __version__
from fsmserver.cli.failures import CommandFailed, WrongArgument
from fsmserver.cli.options import ALL, LIMITS, PROTOCOL, Option, spelled
from fsmserver.core.compiling import is_compiled

app = typer.Typer(
    help="A TCP server core in which every connection is an explicit, executed, checked state machine.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",  # for panels in the help; what is wrong is said by main(), plainly
)


def option_of(name: str, each: Option) -> inspect.Parameter:
    """Make an option of what is declared; name, default and sentence come from there."""
    about = typer.Option(
        spelled(name),
        help=each.about,
        show_default=each.default is not None,
        rich_help_panel=panel(name) if name in LIMITS else None,
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=Annotated[each.kind, about])


def panel(name: str) -> str:
    """Give the heading under which the help lists a limit: its unit says what it bounds."""
    units = {"_per_s": "Limits of number", "_s": "Limits of time, in seconds", "_bytes": "Limits of size, in bytes"}
    return next((heading for unit, heading in units.items() if name.endswith(unit)), "Limits of number")


def with_options(command: Any) -> Any:  # noqa: ANN401 - a decorator keeps what it decorates
    """Give a command the declared options of `serve`."""
    kind, default, about = PROTOCOL
    argument = inspect.Parameter(
        "protocol", inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, typer.Argument(help=about)]
    )
    command.__signature__ = inspect.Signature([argument, *(option_of(name, each) for name, each in ALL.items())])
    return command


def say_version(asked: bool) -> None:  # noqa: FBT001 - Typer's signature
    """Say the version and which of the two builds this is, and end."""
    if asked:
        sys.stdout.write(f"fsmserver {__version__}, {'compiled' if is_compiled() else 'pure Python'}\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def without_command(
    context: typer.Context,
    *,
    version: Annotated[  # noqa: ARG001 - its callback has answered it
        bool, typer.Option("--version", callback=say_version, is_eager=True, help="Say the version, and whether it is compiled.")
    ] = False,
) -> None:
    """Serve the echo protocol on 127.0.0.1:8008 if no command is given."""
    if context.invoked_subcommand is None:
        serve(**{name: each.default for name, each in {"protocol": PROTOCOL, **ALL}.items()})


@app.command()
@with_options
def serve(**asked: Any) -> None:  # noqa: ANN401 - each of the options
    """Run a server until SIGINT or SIGTERM; the first drains it, the second ends it at once."""
    # Each command loads what it needs only.
    from fsmserver.cli import serving  # noqa: PLC0415 - as below: each command loads what it needs

    raise typer.Exit(serving.serve(asked))


@app.command()
def connect(address: Annotated[str, typer.Argument(help="HOST:PORT")]) -> None:
    """Talk to a server: what comes on standard input goes there, what comes from there is printed."""
    from fsmserver.cli.client import run_client  # noqa: PLC0415
    from fsmserver.runtime.binding import Tcp, parse_endpoint  # noqa: PLC0415

    try:
        endpoint = parse_endpoint(address)
        if not isinstance(endpoint, Tcp):
            raise ValueError(f"{address!r} is not HOST:PORT")  # noqa: TRY004 - it is a wrong value
    except ValueError as error:
        raise WrongArgument(str(error)) from error
    raise typer.Exit(run_client(endpoint.host, endpoint.port))


@app.command()
def diagram(
    form: Annotated[str, typer.Option("--format", help="mermaid, dot, svg or markdown.")] = "mermaid",
) -> None:
    """Draw the connection machine from its table."""
    from fsmserver.cli.diagram import DrawingFailed, draw  # noqa: PLC0415

    try:
        drawing = draw(form)
    except ValueError as error:
        raise WrongArgument(str(error)) from error
    except DrawingFailed as error:
        raise CommandFailed(str(error)) from error
    sys.stdout.write(drawing)


@app.command()
def simulate(
    *,
    seeds: Annotated[int, typer.Option(help="How many seeds to run; each is a whole life of a server and its peers.")] = 100,
    first: Annotated[int, typer.Option(help="The first seed.")] = 0,
    protocol: Annotated[str, typer.Option(help="The protocol class to serve, as module:Class.")] = "fsmserver.cli.echo:Echo",
    faults: Annotated[str, typer.Option(help="all, none, or names of faults with commas between them.")] = "all",
    poller: Annotated[str, typer.Option(help="select, poll or epoll, as simulated.")] = "epoll",
    jobs: Annotated[int, typer.Option(help="Processes to run them in.")] = 1,
    dask: Annotated[str | None, typer.Option(help="Run them on the Dask cluster with this scheduler address.")] = None,
    database: Annotated[
        str | None, typer.Option(help="Keep failing seeds in this folder, or in redis://HOST:PORT/N, and try them first.")
    ] = None,
    failures: Annotated[Path, typer.Option(help="Write each failure to a file in this folder.")] = Path("failures"),
) -> None:
    """Search for bugs in simulated worlds, on virtual time, from integer seeds."""
    from fsmserver.cli.searching import plan_of, run_simulation  # noqa: PLC0415 - as in serve

    try:
        plan = plan_of(protocol, poller, faults)
        code = run_simulation(plan, seeds, first=first, jobs=jobs, dask=dask, database=database, failures=failures)
    except ValueError as error:
        raise WrongArgument(str(error)) from error
    raise typer.Exit(code)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="What simulate has written.")],
    *,
    step: Annotated[bool, typer.Option("--step", help="Wait for Enter after each operation.")] = False,
    diagram: Annotated[bool, typer.Option("--diagram", help="Print a mermaid sequence diagram instead.")] = False,
) -> None:
    """Repeat a recorded failure exactly, and show what happened."""
    from fsmserver.cli.searching import run_replay  # noqa: PLC0415 - as in serve

    try:
        code = run_replay(file, step=step, diagram=diagram)
    except ValueError as error:
        raise WrongArgument(str(error)) from error
    raise typer.Exit(code)


@app.command()
def explore(
    *,
    connections: Annotated[int, typer.Option(help="Peers at once; each comes again and again, so descriptors are used again.")] = 2,
    most_connections: Annotated[int, typer.Option(help="The server's own limit; with fewer than peers its listener is full.")] = 2,
    chunks: Annotated[int, typer.Option(help="Chunks that an outbox may hold; over one less, reading is held.")] = 2,
    chunk_bytes: Annotated[int, typer.Option(help="Bytes that are said, received and written at once.")] = 2,
    receive_chunks: Annotated[int, typer.Option(help="Chunks that the kernel keeps for the server, of each connection.")] = 1,
    send_bytes: Annotated[int, typer.Option(help="Bytes that the kernel keeps for the peer, at each end of a connection.")] = 1,
    linger_chunks: Annotated[int, typer.Option(help="Chunks that are read and thrown away after our FIN.")] = 1,
    ticks: Annotated[int, typer.Option(help="How long deadlines are.")] = 1,
    idle_ticks: Annotated[int, typer.Option(help="How long the deadline of an idle connection is.")] = 1,
    accepts: Annotated[int, typer.Option(help="Connections accepted in a round, at most.")] = 2,
    operations: Annotated[
        str,
        typer.Option(
            help="What can happen beside connecting, leaving and rounds: all, or names with commas between them, of "
            "say, hear, end, cut, urge, write, pause, resume, close, abort, write_eof, tick, run_out."
        ),
    ] = "say,hear,end,cut,tick",
    poller: Annotated[str, typer.Option(help="select, poll or epoll, as simulated.")] = "epoll",
    exceptional: Annotated[str, typer.Option(help="What is done about urgent data: discard, inline or close.")] = "discard",
    when_full: Annotated[str, typer.Option(help="Newcomers over the limit wait or are refused.")] = "wait",
    watched: Annotated[bool, typer.Option(help="Check each event too; the machine takes no short cuts then.")] = False,
    eager_writes: Annotated[bool, typer.Option(help="Answer at once, or wait for the writable set as the tutorials do.")] = True,
    half_open: Annotated[bool, typer.Option(help="The echo keeps connections open after the peer's FIN.")] = False,
    handshake: Annotated[bool, typer.Option(help="Connections begin with a handshake.")] = False,
    small: Annotated[bool, typer.Option("--small", help="Make a dozen small searches instead, each of another corner.")] = False,
    most_states: Annotated[int | None, typer.Option(help="Give up after so many states.", show_default=False)] = None,
    graph: Annotated[Path | None, typer.Option(help="Write the graph to this file: a line a state, a line a transition.")] = None,
) -> None:
    """Search everything that the shipped code can do within bounds, on a simulated kernel, breadth first."""
    from fsmserver.cli.exploring import bounds_of, run_exploration  # noqa: PLC0415 - as in serve

    try:
        bounds = bounds_of(
            operations, connections=connections, most_connections=most_connections, outbox_chunks=chunks, chunk_bytes=chunk_bytes,
            receive_chunks=receive_chunks, send_bytes=send_bytes, linger_chunks=linger_chunks, ticks=ticks, idle_ticks=idle_ticks,
            accepts=accepts, poller=poller, exceptional=exceptional, when_full=when_full, watched=watched, eager_writes=eager_writes,
            half_open=half_open, handshake=handshake,
        )  # fmt: skip
        code = run_exploration(bounds, small=small, most_states=most_states, graph=graph)
    except ValueError as error:
        raise WrongArgument(str(error)) from error
    raise typer.Exit(code)


@app.command()
def check(
    traces: Annotated[list[str], typer.Argument(help="Files that serve --trace has written.")],
    *,
    partial: Annotated[bool, typer.Option("--partial", help="Each is a piece of a trace: connections may be open at both ends.")] = False,
) -> None:
    """Check that recorded traces are behaviours of the machine; say of each what its first bad line should be."""
    from fsmserver.cli.checking import check_traces  # noqa: PLC0415

    raise typer.Exit(check_traces(traces, whole=not partial))


def run_app() -> int:
    """Have Typer read the command line and carry it out; give the exit code.

    Raises:
        KeyboardInterrupt: it was given up at a prompt.

    """
    try:
        return app(standalone_mode=False) or 0
    except typer.Abort:
        raise KeyboardInterrupt from None
