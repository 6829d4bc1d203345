"""When a GPU is worth an alert (pure), one file a group; :mod:`.evaluate` puts them together."""
