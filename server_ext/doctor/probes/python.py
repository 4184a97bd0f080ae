"""Which Python this is and where it looks for modules."""

from __future__ import annotations

import _locale
import os
import pwd
import site
import stat
import sys
import sysconfig

# how much of the work folder is looked at: it may hold a data set of a million files
_MOST_ENTRIES = 4000
_DEEPEST = 3
_MOST_FOUND = 50

_LOCALES = (
    "LC_ALL",
    "LANG",
    "LC_CTYPE",
    "LC_NUMERIC",
    "LC_TIME",
    "LC_COLLATE",
    "LC_MONETARY",
    "LC_MESSAGES",
)
# what torch, or a kernel, imports
_MODULES = (
    "torch torchvision torchaudio triton torchgen functorch numpy typing_extensions sympy mpmath"
    " networkx jinja2 markupsafe filelock fsspec IPython ipykernel traitlets zmq tornado comm"
    " jupyter_client jupyter_core debugpy psutil dateutil six packaging nest_asyncio"
    " matplotlib_inline pygments decorator jedi parso pexpect ptyprocess stack_data executing"
    " asttokens pure_eval prompt_toolkit wcwidth pandas matplotlib PIL tqdm"
).split()


def collect(arguments):
    """arguments: work folder. {executable, version, prefix, base_prefix, path, user_site,
    folder, shadows, start_files, home, locale}.
    """
    folder = arguments[0] if arguments else os.getcwd()
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
        "folder": folder,
        "shadows": shadows(folder),
        "start_files": start_files(),
        "home": home(),
        "locale": unknown_locales(),
    }


def start_files():
    """The files of the user's that a kernel runs or reads at its start, but for an empty one."""
    settings = os.path.expanduser(os.environ.get("IPYTHONDIR", "~/.ipython"))
    profile = os.path.join(settings, "profile_default")
    names = ["ipython_config", "ipython_kernel_config"]
    files = [os.path.join(profile, name + kind) for name in names for kind in (".py", ".json")]
    startup = os.path.join(profile, "startup")
    try:
        entries = sorted(os.listdir(startup))[:_MOST_ENTRIES]
    except OSError:
        entries = []
    files += [os.path.join(startup, name) for name in entries if name.endswith((".py", ".ipy"))]
    if os.environ.get("PYTHONSTARTUP"):
        files.append(os.environ["PYTHONSTARTUP"])
    return [file for file in files if _has_text(file)][:_MOST_FOUND]


def _has_text(file):
    try:
        facts = os.stat(file)
    except OSError:
        return False
    # a pipe, too: who reads it waits
    return facts.st_size > 0 or not stat.S_ISREG(facts.st_mode)


def home():
    """{variable, account}: what HOME says, None without one, and the account's own home."""
    try:
        account = pwd.getpwuid(os.getuid()).pw_dir
    except (KeyError, ImportError):
        account = None
    return {"variable": os.environ.get("HOME"), "account": account}


def unknown_locales():
    """[{variable, value}] of variables that name a language that this system does not have."""
    try:
        before = _locale.setlocale(_locale.LC_ALL)
        try:
            _locale.setlocale(_locale.LC_ALL, "")
            return []
        except _locale.Error:
            pass
        found = []
        for variable in _LOCALES:
            value = os.environ.get(variable)
            if value and not _is_known(value):
                found.append({"variable": variable, "value": value[:60]})
        _locale.setlocale(_locale.LC_ALL, before)
        return found
    except Exception:  # a system without them
        return []


def _is_known(value):
    try:
        _locale.setlocale(_locale.LC_ALL, value)
    except _locale.Error:
        return False
    return True


def shadows(folder):
    """Files in the work folder, and in folders of it that have notebooks, that these import instead
    of the real module; relative paths.
    """
    names = set(getattr(sys, "stdlib_module_names", ())) | set(_MODULES)
    found = []
    waiting, looked_at = [(folder, 0)], 0
    while waiting and looked_at < _MOST_ENTRIES:
        place, depth = waiting.pop(0)
        here, notebooks = [], depth == 0
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    looked_at += 1
                    if looked_at > _MOST_ENTRIES:
                        break
                    stem, extension = os.path.splitext(entry.name)
                    is_folder = not extension and entry.is_dir(follow_symlinks=False)
                    if extension == ".ipynb":
                        notebooks = True
                    elif stem in names and (
                        (extension == ".py" and entry.is_file())
                        or (not extension and os.path.isfile(entry.path + "/__init__.py"))
                    ):
                        here.append(os.path.relpath(entry.path, folder))
                    elif is_folder and depth < _DEEPEST and not stem.startswith((".", "_")):
                        waiting.append((entry.path, depth + 1))
        except OSError:
            continue
        if notebooks:
            found += here
    return sorted(found)[:_MOST_FOUND]
