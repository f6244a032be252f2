"""`voice-live`: its commands, their options, and printing; the work is done elsewhere.

Each command imports its own part: the gateway takes a second to import, and a call needs none of it.
"""

import asyncio
import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import orjson
import typer

from app.commands.call_log import Entry

DEFAULT_URL = "ws://127.0.0.1:8000/ws/voice"
TICKET_VARIABLE = "VOICE_LIVE_TICKET"
API_KEY_VARIABLE = "VOICE_LIVE_API_KEY"
"""Both are secrets: on a command line every user of the machine could read them."""

cli = typer.Typer(
    name="voice-live",
    help="A voice gateway for Azure AI Voice Live, and a local emulator of the service.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@cli.command()
def serve() -> None:
    """Run the gateway with the settings of the environment and `.env`."""
    from app.main import main as serve_from_settings

    raise typer.Exit(serve_from_settings())


@cli.command()
def demo(
    host: Annotated[str, typer.Option(help="Address on which the gateway listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the gateway.")] = 8000,
    emulator_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the emulator; 0 lets the system choose.")
    ] = 0,
) -> None:
    """Run the gateway and the emulator: talk with an agent without a cloud account."""
    from app.commands.demo import run_demo

    raise typer.Exit(run_demo(host, port, emulator_port))


@cli.command(
    # Every option is the emulator's own, `--help` too.
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def emulator(context: typer.Context) -> None:
    """Run the Voice Live emulator alone, for apps on the Voice Live SDK (`emulator --help`)."""
    if find_spec("onnxruntime") is None:
        typer.echo("The emulator is not installed: pip install '.[emulator]' does that.", err=True)
        raise typer.Exit(1)
    command = [sys.executable, "-m", "voicelive_emulator", "--readable", *context.args]
    os.execv(sys.executable, command)  # noqa: S606 (the arguments are the user's own)


@cli.command()
def call(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE.wav", help="What the caller says (PCM, any rate).")
    ] = None,
    url: Annotated[str, typer.Option(help="Address of the gateway's calls.")] = DEFAULT_URL,
    save: Annotated[Path | None, typer.Option(help="Save what the caller heard of the agent.")] = None,
    text: Annotated[str, typer.Option(help="Type this instead of speaking a file.")] = "",
    mic: Annotated[bool, typer.Option("--mic", help="Talk yourself, until Ctrl+C; use headphones.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the greeting to finish.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Call the gateway with recorded speech, or talk. Exit status 0 when the agent answered.

    A ticket, where the gateway requires one, is taken from VOICE_LIVE_TICKET.
    """
    from app.commands.call import Call, hold
    from voicelive_client.speech import WavError, read_wav, write_wav

    if [file is not None, bool(text), mic].count(True) != 1:
        raise typer.BadParameter("Name one WAV file, or give --text or --mic.")
    if mic:
        if save is not None or now:
            raise typer.BadParameter("--save and --now are for a call with recorded speech.")
        _talk(url, os.environ.get(TICKET_VARIABLE), as_json=as_json)
        return
    try:
        speech = b"" if file is None else read_wav(file)
    except WavError as error:
        raise _failed(str(error), as_json=as_json) from None
    with _explained(url, as_json=as_json):
        result = asyncio.run(
            hold(
                Call(
                    url,
                    speech=speech,
                    text=text,
                    after_greeting=not now,
                    ticket=os.environ.get(TICKET_VARIABLE),
                ),
                _show_json if as_json else _show,
            )
        )
    if save is not None:
        try:
            write_wav(save, result.heard)
        except OSError as error:
            raise _failed(f"{save} cannot be written: {error.strerror}.", as_json=as_json) from None
    if result.failure is not None:
        raise _failed(result.failure, as_json=as_json)
    _show_summary(result.latencies_ms, as_json=as_json)


tickets = typer.Typer(
    name="tickets", help="Keys for those who ask for tickets, and a ticket by hand.", no_args_is_help=True
)
cli.add_typer(tickets)


@tickets.command()
def new_key() -> None:
    """Make an API key. The key is for who asks for tickets, the hash for the gateway's settings."""
    from app.commands.tickets import hash_of, new_key

    key = new_key()
    typer.echo(f"API key (shown only now): {key}")
    typer.echo(f"TICKET_API_KEY_HASHES={hash_of(key)}")


@tickets.command("hash")
def hash_key() -> None:
    """Hash an API key that you have: it is asked for, or read from standard input."""
    from app.commands.tickets import hash_of

    key = typer.prompt("API key", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline().strip()
    if not key:
        raise typer.BadParameter("There is no key on standard input.")
    typer.echo(f"TICKET_API_KEY_HASHES={hash_of(key)}")


@tickets.command()
def get(
    subject: Annotated[str, typer.Option(help="Whom it is for: limits count by it.")],
    url: Annotated[str, typer.Option(help="Address of the gateway.")] = "http://127.0.0.1:8000",
    origin: Annotated[
        str | None, typer.Option(help="Origin of the page that will call; none: an app.")
    ] = None,
    campaign: Annotated[str | None, typer.Option(help="What the call is for.")] = None,
) -> None:
    """Print a ticket for one call within seconds. The API key is taken from VOICE_LIVE_API_KEY."""
    from app.commands.tickets import NoTicketError, Wanted, get_ticket

    key = os.environ.get(API_KEY_VARIABLE)
    if not key:
        raise _failed(f"Set {API_KEY_VARIABLE} to an API key of the gateway.", as_json=False)
    try:
        typer.echo(asyncio.run(get_ticket(url, key, Wanted(subject, origin, campaign))))
    except NoTicketError as error:
        raise _failed(str(error), as_json=False) from None


@cli.command()
def doctor(
    env_file: Annotated[Path, typer.Option(help="The file with the settings.")] = Path(".env"),
) -> None:
    """Check settings, network, credentials and the service, and say how to mend what is wrong."""
    from app.commands.doctor import run_doctor

    raise typer.Exit(run_doctor(env_file))


def main() -> None:
    """The console script."""
    cli()


def _talk(url: str, ticket: str | None, *, as_json: bool) -> None:
    """A call through the sound device, until either side ends it."""
    from app.commands.talk import talk
    from voicelive_client.sound_device import SoundDeviceError

    failure = None
    try:
        with _explained(url, as_json=as_json):
            failure = asyncio.run(talk(url, ticket, _show_json if as_json else _show))
    except SoundDeviceError as error:
        raise _failed(str(error), as_json=as_json) from None
    except KeyboardInterrupt:
        return  # leaving the call has closed it in order
    if failure is not None:
        raise _failed(failure, as_json=as_json)


@contextmanager
def _explained(url: str, *, as_json: bool) -> Iterator[None]:
    """Says why there is no call, and what to do."""
    from voicelive_client import CallRefusedError, CallUnreachableError

    try:
        yield
    except CallRefusedError as refusal:
        wait = "" if refusal.retry_after_s is None else f" Try again in {refusal.retry_after_s} s."
        raise _failed(f"The call was refused ({refusal}).{wait}", as_json=as_json) from None
    except CallUnreachableError as error:
        remedy = "Start the gateway with `voice-live demo` or `voice-live serve`."
        raise _failed(f"Nobody answers at {url} ({error}). {remedy}", as_json=as_json) from None


def _show(entry: Entry) -> None:
    mark = "  [interrupted]" if entry.interrupted else ""
    typer.echo(f"{entry.at_s:7.2f} s  {entry.kind:<8}  {entry.text}{mark}")


def _show_json(entry: Entry) -> None:
    typer.echo(orjson.dumps(asdict(entry)).decode())


def _show_summary(latencies_ms: list[int], *, as_json: bool) -> None:
    median_ms = round(statistics.median(latencies_ms))
    if as_json:
        summary = {"kind": "summary", "answers": len(latencies_ms), "median_latency_ms": median_ms}
        typer.echo(orjson.dumps(summary).decode())
        return
    answers = "1 answer" if len(latencies_ms) == 1 else f"{len(latencies_ms)} answers"
    typer.echo(
        f"{answers}; from the caller's last sound to the agent's first: median {median_ms} ms, "
        f"longest {max(latencies_ms)} ms"
    )


def _failed(reason: str, *, as_json: bool) -> typer.Exit:
    if as_json:
        typer.echo(orjson.dumps({"kind": "failure", "text": reason}).decode())
    typer.echo(reason, err=True)
    return typer.Exit(1)
