"""Offsite: a second target of backups, by restic and rclone, which do the transport and the storing."""
