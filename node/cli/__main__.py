"""`python -m altyn.node.cli`: the program `altyn`."""

from altyn.programs import altyn

altyn()
