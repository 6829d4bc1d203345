"""The Debian package: an environment of its own in /opt/aiidpd, units, accounts, pages and completions."""
