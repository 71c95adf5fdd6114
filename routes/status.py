"""``/status``, ``/settings``."""

from __future__ import annotations

from ..core.librarian import Librarian
from ..core.services.reports import SettingsChange, SettingsReport, StatusReport


def status(librarian: Librarian) -> StatusReport:
    """How everything does."""
    return librarian.status()


def settings(librarian: Librarian) -> SettingsReport:
    """The settings, without secrets."""
    return librarian.preferences.report()


def change_settings(librarian: Librarian, body: SettingsChange) -> SettingsReport:
    """Change settings."""
    return librarian.preferences.change(body)
