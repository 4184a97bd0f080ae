"""The environment of the tools that the set-up runs: PATH, mirrors, certificates.

Guarantees: pure; what the caller's environment says about a mirror stays unless a setting says
otherwise; variables that would lead an interpreter astray are taken out.
"""

from __future__ import annotations

from collections.abc import Mapping

from .settings import Settings

_ASTRAY = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "PIP_TARGET", "PIP_PREFIX")


def tool_environ(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Environment for python, pip, npm and jlpm."""
    result = {name: value for name, value in environ.items() if name not in _ASTRAY}
    result["PATH"] = f"{settings.venv / 'bin'}:{environ.get('PATH', '/usr/bin:/bin')}"
    result["PIP_USER"] = "0"
    result["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    result["PIP_NO_INPUT"] = "1"
    result["YARN_ENABLE_TELEMETRY"] = "0"
    if settings.pypi_index:
        result["PIP_INDEX_URL"] = settings.pypi_index
        result["UV_DEFAULT_INDEX"] = settings.pypi_index
    if settings.npm_registry:
        result["npm_config_registry"] = settings.npm_registry
        result["YARN_NPM_REGISTRY_SERVER"] = settings.npm_registry.rstrip("/")
    if settings.ca_bundle:
        for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "npm_config_cafile"):
            result[name] = settings.ca_bundle
        result["NODE_EXTRA_CA_CERTS"] = settings.ca_bundle
        result["YARN_CA_FILE_PATH"] = settings.ca_bundle  # jlpm is Yarn 3, which asks for its own
    return result
