"""`voice-live demo`: the emulator as a child process, and the gateway that calls it.

Nothing of the user's configuration is read: the settings are made here, so that the demonstration works
everywhere in the same way and can never reach a real service.
"""

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from typing import Final

import typer

from app.config import Settings, settings_from
from app.main import make_server
from app.telemetry import configure_logs
from app.websocket.listener import listen

EMULATOR_START_S: Final = 120.0
"""Loading the models takes some seconds; on a busy small machine it can take many."""

EMULATOR_STOP_S: Final = 10.0
GO_LIVE: Final = (
    "To go live: copy .env.example to .env, fill in the values of your Azure resource, check them with\n"
    "`voice-live doctor` and run `voice-live serve`."
)


def run_demo(host: str, port: int, emulator_port: int) -> int:
    """Runs until Ctrl-C; returns the exit status. Port 0 lets the system choose."""
    # A polite `kill` ends the demonstration just as Ctrl-C does, and takes the emulator along.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        listening = listen(host, port)
    except OSError as error:
        typer.echo(
            f"Cannot listen on {host}, port {port}: {error.strerror}. Choose another --port.", err=True
        )
        return 1
    failure: str | None = None
    with listening, suppress(KeyboardInterrupt):
        failure = asyncio.run(_run(listening, emulator_port))
    if failure is not None:
        typer.echo(failure, err=True)
        return 1
    typer.echo(f"\n{GO_LIVE}")
    return 0


def demo_settings(emulator_port: int, api_key: str, host: str = "127.0.0.1") -> Settings:
    """The gateway's settings for an emulator on this machine."""
    return settings_from(
        {
            "azure_voicelive_endpoint": f"http://127.0.0.1:{emulator_port}",
            "azure_voicelive_api_key": api_key,
            "azure_voicelive_model": "gpt-4.1",
            "azure_voicelive_voice_type": "azure-standard",
            "azure_voicelive_voice_name": "en-US-AndrewNeural",
            "app_host": host,
            "log_level": "WARNING",
            "resume_window_s": 15,
        }
    )


async def _run(listening: socket.socket, emulator_port: int) -> str | None:
    """Runs both programs; returns why they could not go on, None when the gateway was told to stop."""
    api_key = secrets.token_urlsafe(16)
    emulator = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "voicelive_emulator"),
        *("--host", "127.0.0.1", "--port", str(emulator_port), "--log-level", "warning"),
        "--until-stdin-ends",  # so it ends even when this process is killed
        env=os.environ | {"EMULATOR_API_KEY": api_key},
        stdin=PIPE,
        stdout=PIPE,
        # Ctrl-C reaches the gateway alone, which ends its calls before the emulator goes.
        start_new_session=True,
    )
    try:
        return await _serve(emulator, listening, api_key)
    finally:
        await _stop(emulator)


async def _serve(emulator: Process, listening: socket.socket, api_key: str) -> str | None:
    typer.echo("Starting the emulator: it loads its speech models.")
    emulator_port = await _ready_port(emulator)
    if emulator_port is None:
        return "The emulator did not start."  # its own line says why
    settings = demo_settings(emulator_port, api_key, listening.getsockname()[0])
    configure_logs(settings.log_level)
    server = make_server(settings)
    host, port = listening.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    typer.echo(f"\nOpen http://{host}:{port}/ in a browser and talk, or in another terminal:")
    typer.echo(f"  voice-live call FILE.wav --url ws://{host}:{port}/ws/voice")
    typer.echo("Ctrl-C ends it.")
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(sockets=[listening]))
        ended = tasks.create_task(emulator.wait())
        await asyncio.wait((serving, ended), return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
        died = ended.done()
        ended.cancel()
    return f"The emulator ended with status {emulator.returncode}." if died else None


async def _ready_port(emulator: Process) -> int | None:
    """The port from the emulator's first line of output; None when it ends or takes too long."""
    assert emulator.stdout is not None  # noqa: S101 (it is a pipe)
    try:
        async with asyncio.timeout(EMULATOR_START_S):
            ready = json.loads(await emulator.stdout.readline() or b"null")
    except TimeoutError:
        return None
    return int(ready["port"]) if ready else None


async def _stop(emulator: Process) -> None:
    if emulator.returncode is not None:
        return
    emulator.terminate()
    try:
        async with asyncio.timeout(EMULATOR_STOP_S):
            await emulator.wait()
    except TimeoutError:
        emulator.kill()
        await emulator.wait()
