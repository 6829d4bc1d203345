"""When a GPU is worth an alert (pure), one file a group; :mod:`.watch` puts them together."""
