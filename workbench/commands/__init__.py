"""What the subcommands of `workbench` do; `workbench.cli` says how they are called."""
