"""Journals of systemd: live ones by journalctl, their files without it."""
