"""Whether what Beam would download can be reached."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

_SECONDS = 10.0


def unreachable(url: str) -> str:
    """Why a file of the web cannot be had; empty if it can."""
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - Beam's own address
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310
            return ""
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except (OSError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__
