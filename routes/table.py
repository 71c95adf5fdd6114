"""Every call of the API, in one place.

Importing this loads no endpoint: each is loaded with its types at its first call, so that the package
adds next to nothing to ComfyUI's start.
"""

from __future__ import annotations

from typing import NamedTuple


class Route(NamedTuple):
    """``path`` is below ``/librarian``; ``function`` is the endpoint in ``module`` beside this file.

    What ``streams`` takes or gives something else than JSON; its function is a handler of the module's class.
    """

    method: str
    path: str
    module: str
    function: str
    streams: bool = False

    @property
    def changes_things(self) -> bool:
        """Whether the call may change anything."""
        return self.method not in ("GET", "OPTIONS")


ROUTES = (
    Route("GET", "/status", "status", "status"),
    Route("GET", "/settings", "status", "settings"),
    Route("PATCH", "/settings", "status", "change_settings"),
    Route("GET", "/models", "models", "search"),
    Route("PATCH", "/models", "models", "edit_many"),
    Route("GET", "/facets", "models", "facets"),
    Route("GET", "/models/{model_id:.+}", "models", "details"),
    Route("PATCH", "/models/{model_id:.+}", "models", "edit"),
    Route("DELETE", "/models/{model_id:.+}", "models", "delete"),
    Route("POST", "/models/{model_id:.+}/show", "models", "show"),
    Route("POST", "/inspect", "imports", "inspect"),
    Route("POST", "/imports", "imports", "import_models"),
    Route("GET", "/browse", "imports", "browse"),
    Route("OPTIONS", "/uploads", "uploads", "options", streams=True),
    Route("POST", "/uploads", "uploads", "create", streams=True),
    Route("HEAD", "/uploads/{upload_id}", "uploads", "head", streams=True),
    Route("PATCH", "/uploads/{upload_id}", "uploads", "patch", streams=True),
    Route("DELETE", "/uploads/{upload_id}", "uploads", "delete", streams=True),
    Route("POST", "/uploads/{upload_id}", "uploads", "override", streams=True),
    Route("GET", "/downloads", "downloads", "downloads"),
    Route("POST", "/downloads", "downloads", "download"),
    Route("GET", "/downloads/{download_id}", "downloads", "one"),
    Route("DELETE", "/downloads/{download_id}", "downloads", "remove"),
    Route("DELETE", "/downloads/{download_id}/aside", "downloads", "remove_aside"),
    Route("POST", "/downloads/{download_id}/pause", "downloads", "pause"),
    Route("POST", "/downloads/{download_id}/resume", "downloads", "resume"),
    Route("GET", "/jobs", "jobs", "jobs"),
    Route("GET", "/jobs/{job_id}", "jobs", "job"),
    Route("POST", "/jobs/{job_id}/cancel", "jobs", "cancel"),
    Route("POST", "/scan", "jobs", "scan"),
    Route("GET", "/duplicates", "models", "duplicates"),
    Route("POST", "/duplicates/share", "models", "share"),
    Route("POST", "/duplicates/share/preview", "models", "preview_sharing"),
    Route("GET", "/storage", "models", "storage"),
    Route("GET", "/links", "links", "links"),
    Route("POST", "/mappings/preview", "links", "preview"),
    Route("POST", "/mappings/apply", "links", "apply_plan"),
    Route("GET", "/mappings", "links", "mappings"),
    Route("GET", "/mappings/{name}", "links", "mapping"),
    Route("PUT", "/mappings/{name}", "links", "put_mapping"),
    Route("DELETE", "/mappings/{name}", "links", "delete_mapping"),
    Route("GET", "/apps", "links", "apps"),
    Route("POST", "/apps", "links", "add_app"),
    Route("DELETE", "/apps/{app}", "links", "uninstall"),
    Route("GET", "/health", "links", "health"),
    Route("POST", "/health/clean", "links", "clean"),
    Route("POST", "/links/repair", "links", "repair"),
    Route("POST", "/links/relocate", "links", "relocate"),
    Route("POST", "/resolve", "workflows", "resolve"),
    Route("POST", "/lookup", "network", "lookup"),
    Route("POST", "/lookup/apply", "network", "apply_candidate"),
    Route("POST", "/lookup/retry", "network", "retry"),
    Route("GET", "/remote", "network", "remote"),
    Route("GET", "/remote/files", "network", "remote_files"),
)
