"""What goes wrong in a light node."""


class LightError(Exception):
    """A light node could not get or send what was asked of it: no peer, or none that gave it. One line of text."""
