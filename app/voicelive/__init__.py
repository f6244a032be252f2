"""Everything that knows Voice Live: the socket, its credentials, its events, the session we ask for."""
