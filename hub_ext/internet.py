"""How containers reach the internet: a proxy, regional mirrors, or not at all. Pure.

Guarantees: what programs could not use is refused when the hub starts, not met by participants; the
hub, the service and the container itself are never reached by way of the proxy; no password gets
into containers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

# the variables that programs read; `pip` reads its own
MIRROR_VARIABLES = {
    "huggingface": "HF_ENDPOINT",
    "pip": "PIP_INDEX_URL",
    "wandb": "WANDB_BASE_URL",
}
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY")
_LOCAL = ("localhost", "127.0.0.1", "::1")
# offline: use what is in the cache, and keep what would be sent
_OFFLINE = {
    "GPUCAMP_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_OFFLINE": "1",
    "PIP_NO_INDEX": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "WANDB_MODE": "offline",
}


def check_proxy(url: str) -> str:
    """The URL as it is, "" for none. Raises ValueError, which says what is wrong."""
    return _check(url, ("http", "https", "socks5", "socks5h")) if url else ""


def check_mirrors(mirrors: Mapping[str, str]) -> dict[str, str]:
    """Raises ValueError, which says what is wrong."""
    unknown = sorted(set(mirrors) - set(MIRROR_VARIABLES))
    if unknown:
        raise ValueError(f"no mirror of {', '.join(unknown)}: {', '.join(MIRROR_VARIABLES)}")
    return {name: _check(str(url), ("http", "https")) for name, url in mirrors.items()}


def internet_environment(
    *,
    proxy: str,
    direct: Iterable[str],
    mirrors: Mapping[str, str],
    offline: bool,
    own_urls: Iterable[str],
) -> dict[str, str]:
    """The variables of a container. direct: hosts or domains that are reached without the proxy;
    own_urls: of the hub and the service, whose hosts are too.
    """
    env = {MIRROR_VARIABLES[name]: url for name, url in mirrors.items()}
    pip = urlsplit(mirrors.get("pip", ""))
    if pip.scheme == "http":  # pip passes over such a host unless it is told to trust it
        env["PIP_TRUSTED_HOST"] = pip.netloc
    if proxy:
        hosts = [urlsplit(url).hostname or "" for url in own_urls]
        exceptions = ",".join(dict.fromkeys(host for host in (*_LOCAL, *hosts, *direct) if host))
        for name in _PROXY_VARIABLES:
            env[name] = env[name.lower()] = proxy
        env["NO_PROXY"] = env["no_proxy"] = exceptions
    return env | (_OFFLINE if offline else {})


def _check(url: str, schemes: Iterable[str]) -> str:
    shown = url.rpartition("@")[2]
    try:
        parts = urlsplit(url)
        named = parts.scheme in schemes and parts.hostname and (parts.port or 0) >= 0
    except ValueError:
        named = False
    if not named or any(char.isspace() for char in url):
        raise ValueError(f"{shown} is not like {next(iter(schemes))}://HOST:PORT")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"the address of {shown} has a password, which everybody would see")
    return url
