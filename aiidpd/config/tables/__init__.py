"""The tables of the configuration, one class each; :mod:`aiidpd.config.model` puts them together."""
