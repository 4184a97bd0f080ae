"""What keeps programs from the network: the clock against the hub's, and variables about proxies,
certificates and log-ins. Nothing is asked but the hub that started this server, without a token;
no value that may be a secret is told.

arguments: the file that is as old as the image, or nothing.
"""

from __future__ import annotations

import os
import re
import time
import urllib.parse

SECONDS = 2.5
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_SCHEMES = {"http", "https", "socks4", "socks4a", "socks5", "socks5h"}


def collect(arguments):
    """{clock: {asked, now, hub, problem, certificate}, made, proxies: [{variable, problem}],
    logins: {wandb: bool}}; now, hub, made: seconds since 1970; certificate: the hub's is out
    of date by this clock.
    """
    return {
        "clock": clock(os.environ.get("JUPYTERHUB_API_URL") or ""),
        "made": made(arguments[0]) if arguments else None,
        "proxies": proxies(os.environ),
        "logins": {"wandb": wandb()},
    }


def clock(url):
    """This clock and the hub's, by the Date of its answer."""
    parts = urllib.parse.urlsplit(url)
    if not parts.hostname:
        return {"asked": False, "now": time.time()}
    # late: without a hub, nobody waits for them
    import email.utils
    import http.client
    import ssl

    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=SECONDS)
    try:
        connection.request("HEAD", parts.path or "/")
        date = connection.getresponse().getheader("Date") or ""
        return {
            "asked": True,
            "now": time.time(),
            "hub": email.utils.parsedate_to_datetime(date).timestamp(),
        }
    except (OSError, http.client.HTTPException, TypeError, ValueError) as error:
        # a hub with a certificate of its own is no fault; one that is out of date tells of a clock
        dated = isinstance(error, ssl.SSLError) and re.search("not yet valid|expired", str(error))
        return {
            "asked": True,
            "now": time.time(),
            "problem": "%s: %s" % (type(error).__name__, str(error)[:300]),
            "certificate": bool(dated),
        }
    finally:
        connection.close()


def made(path):
    """When the image's file was last changed: no clock may be before that."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def proxies(environ):
    """[{variable, problem}] of variables that programs cannot use as a proxy."""
    found = []
    for name in _PROXIES:
        for variable in (name, name.lower()):
            value = environ.get(variable, "").strip()
            if value:
                problem = _problem(value)
                if problem:
                    found.append({"variable": variable, "problem": problem})
    for name in _PROXIES[:2]:
        upper, lower = environ.get(name), environ.get(name.lower())
        if upper and lower and upper != lower:
            found.append({"variable": name, "problem": "differs from " + name.lower()})
    return found


def _problem(value):
    if "://" not in value:
        return "no http:// in front of the host"
    try:
        parts = urllib.parse.urlsplit(value)
        port = parts.port
    except ValueError:
        return "the port is no number"
    if parts.scheme.lower() not in _SCHEMES:
        return "unknown kind of proxy"
    if not parts.hostname:
        return "no host"
    return "port 0" if port == 0 else ""


def wandb():
    """Whether a log-in to Weights & Biases is kept in the home; its text is not told."""
    try:
        with open(os.path.expanduser("~/.netrc"), encoding="utf-8", errors="replace") as stream:
            return "wandb" in stream.read(100000)
    except OSError:
        return False
