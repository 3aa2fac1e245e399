"""The commands: `altyn`, and `altynd` and `altyn-cli` in bitcoind's style."""
