"""How a connection ends.

Disconnect          the connection is over, for any reason: closed, timed out, not wanted
└── Misbehaving     the peer broke the protocol: its address is discouraged as well (Core: Misbehaving)
"""


class Disconnect(Exception):
    """Ends one peer, never the node. `reason` is the text of its one log line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Misbehaving(Disconnect):
    """The peer did what no honest one does. Manual and `noban` peers are not punished for it."""
