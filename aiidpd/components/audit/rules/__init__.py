"""Rules of the audit, one file a group; :mod:`all` lists them."""
