"""The gateway: it admits callers, runs their calls and talks to one Voice Live endpoint."""
