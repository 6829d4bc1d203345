"""Healing: a container whose processes do not do their work is restarted or created anew, within bounds."""
