"""Component models: which models lie on this machine, from where, used by what, backed up or not."""
