"""Which Python this is and where it looks for modules."""

from __future__ import annotations

import os
import site
import sys
import sysconfig


def collect(arguments):
    """arguments: work folder. {executable, version, prefix, base_prefix, path, user_site,
    shadows}.
    """
    try:
        user_site = site.getusersitepackages()
    except Exception as error:  # a broken sysconfig or home
        user_site = str(error)
    return {
        "executable": sys.executable,
        "version": "%d.%d.%d" % sys.version_info[:3],
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "path": list(sys.path),
        "user_site": {
            "enabled": bool(site.ENABLE_USER_SITE),
            "path": user_site,
            "on_path": user_site in sys.path,
        },
        "python_h": os.path.exists(os.path.join(sysconfig.get_path("include") or "", "Python.h")),
        "shadows": shadows(arguments[0] if arguments else os.getcwd()),
    }


def shadows(folder):
    """Files in the work folder that notebooks there import instead of the real module."""
    names = set(getattr(sys, "stdlib_module_names", ())) | {
        "torch",
        "torchvision",
        "torchaudio",
        "numpy",
        "triton",
        "typing_extensions",
    }
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                stem, extension = os.path.splitext(entry.name)
                is_module = extension == ".py" and entry.is_file()
                is_package = not extension and os.path.isfile(
                    os.path.join(entry.path, "__init__.py")
                )
                if stem in names and (is_module or is_package):
                    found.append(entry.name)
    except OSError:
        pass
    return sorted(found)
