"""The caller's socket: what happens below the application's route, and the one interface to it."""
