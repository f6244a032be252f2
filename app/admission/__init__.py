"""May this caller start a call? Decided before the WebSocket is accepted, without contact to Voice Live.

`decision` holds the rules and is pure; `origins` and `addresses` read what a caller shows.
"""

from app.admission.refusals import Refusal

__all__ = ["Refusal"]
