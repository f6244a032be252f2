"""The gateway on plain ASGI, as other servers run it, without frames on a direct way: a row of the table."""

from functools import partial
from typing import cast

from app.config import load_settings
from app.main import make_server
from app.websocket.call_protocol import CallProtocol
from app.websocket.listener import listen


def main() -> None:
    """Serve until told to stop."""
    settings = load_settings()
    server = make_server(settings)
    server.config.load()
    server.config.ws_protocol_class = cast(type[CallProtocol], partial(CallProtocol, offers_frames=False))
    with listen(settings.app_host, settings.app_port) as listener:
        server.run(sockets=[listener])


if __name__ == "__main__":
    main()
