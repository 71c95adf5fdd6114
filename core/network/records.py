from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from .hosts import AllowedHost

#: Where models and what is known of them come from. Hugging Face sends downloads to other hosts of its
#: own (https://huggingface.co/docs/hub/models-downloading names ``*.hf.co``), Civitai to its storage.
DEFAULT_HOSTS = (
    "huggingface.co",
    "cdn-lfs*.huggingface.co",
    "hf.co",
    "*.hf.co",
    "civitai.com",
    "*.civitai.com",
    "civitai-delivery-worker-prod.*.r2.cloudflarestorage.com",
)


class NetworkSettings(BaseModel):
    """What the person allows.

    Attributes:
        online: False sends nothing at all.
        allowed_hosts: ``host``, ``host:port`` or a pattern with ``*``: https on that port (443), public
            addresses only. A full origin such as ``http://127.0.0.1:8080`` is trusted as it stands,
            private and unencrypted included.
        allow_private: Let any allowed host have a private or loopback address.
        allow_http: Let any allowed host be asked without encryption.
        timeout_s: Longest silence while connecting and while reading, in seconds.
        deadline_s: Longest time until a caller has an answer or an error, in seconds, waits and
            retries included; a caller that can wait longer says so.
        calls_per_minute: Librarian's own ceiling per host.
        tokens: Access token by host (``host`` or ``host:port``); sent to that host only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    online: bool = True
    allowed_hosts: tuple[str, ...] = DEFAULT_HOSTS
    allow_private: bool = False
    allow_http: bool = False
    timeout_s: float = Field(default=7.0, gt=0, le=600)
    deadline_s: float = Field(default=7.0, gt=0, le=3600)
    calls_per_minute: int = Field(default=60, ge=1, le=100_000)
    tokens: dict[str, SecretStr] = Field(default_factory=dict)

    @field_validator("allowed_hosts")
    @classmethod
    def _understood(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            AllowedHost.parse(entry)
        return value


class HostStatus(BaseModel):
    """How one host does.

    Attributes:
        host: ``host``, with ``:port`` where it is not the usual one.
        state: ``closed`` is well, ``open`` is left alone, ``half-open`` is being tried again.
        failures: Failures in a row.
        retry_after_s: Seconds until the host may be asked again; 0 when it may now.
    """

    host: str
    state: Literal["closed", "open", "half-open"]
    failures: int
    retry_after_s: float


class RateLimitStatus(BaseModel):
    """What is left of a host's limit, as it last said.

    Attributes:
        host: Whose limit.
        remaining: Calls left in the window.
        limit: Calls in a whole window, when the host says so.
        reset_s: Seconds until the window starts anew.
        near_limit: Under a tenth is left, or the host said to wait; calls are paced or held back.
    """

    host: str
    remaining: int
    limit: int | None
    reset_s: float
    near_limit: bool


class NetworkStatus(BaseModel):
    """The network as Librarian sees it.

    Attributes:
        offline: Switched off, or no host that was asked is well.
        hosts: Every host asked so far.
        rate_limit: The tightest limit known, or None.
    """

    offline: bool
    hosts: list[HostStatus]
    rate_limit: RateLimitStatus | None
