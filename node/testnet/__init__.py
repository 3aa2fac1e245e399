"""Local networks: of real processes, and simulated ones inside one process."""
