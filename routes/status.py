"""``/status``, ``/settings``."""

from __future__ import annotations

from ..core.librarian import Librarian
from ..core.reports import SettingsChange, SettingsReport, StatusReport
from .endpoints import Endpoints

endpoints = Endpoints()


@endpoints.add("GET", "/status")
def status(librarian: Librarian) -> StatusReport:
    """How everything does."""
    return librarian.status()


@endpoints.add("GET", "/settings")
def settings(librarian: Librarian) -> SettingsReport:
    """The settings, without secrets."""
    return librarian.settings_report()


@endpoints.add("PATCH", "/settings")
def change_settings(librarian: Librarian, body: SettingsChange) -> SettingsReport:
    """Change settings."""
    return librarian.change_settings(body)
