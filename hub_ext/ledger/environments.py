"""Generations of environments.

Guarantees: `newest` only grows, so a volume's name is never used for a second environment; a reset
or an undo deletes nothing; the last two generations left are kept, whether a reset or an undo left
them, so an undo can be undone; a generation becomes deletable only when it is not in use and two
others were left after it, or it was given up for want of space, and is never gone back to from then
on.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, delete, insert, select, update

from ..errors import Conflict
from ..i18n import _
from ..models import Environment, KeptGeneration
from .tables import environment, left_generation

KEPT = 2


def read(connection: Connection, user: str, server: str) -> Environment:
    """A server's environment; generation 1 if it was never reset."""
    row = connection.execute(
        select(environment).where(*_is(environment, user, server))
    ).one_or_none()
    if row is None:
        return Environment(user=user, server=server)
    left = connection.execute(
        select(left_generation)
        .where(*_is(left_generation, user, server), left_generation.c.left_change > 0)
        .order_by(left_generation.c.left_change.desc())
        .limit(KEPT)
    )
    return Environment(
        user=user,
        server=server,
        generation=row.generation,
        newest=row.newest,
        kept=tuple(
            KeptGeneration(each.generation, each.left_at, KEPT - place)
            for place, each in enumerate(left)
        ),
    )


def reset(connection: Connection, user: str, server: str, now: datetime) -> Environment:
    """Go to a generation that was never used; the one left can be undone to."""
    before = read(connection, user, server)
    return _switch(connection, before, before.newest + 1, now)


def undo(
    connection: Connection, user: str, server: str, generation: int | None, now: datetime
) -> Environment:
    """Go back to a generation that is kept; None: the one left last. Raises Conflict."""
    before = read(connection, user, server)
    return _switch(connection, before, require_kept(before, generation), now)


def require_kept(found: Environment, generation: int | None) -> int:
    """The generation that an undo goes back to. Raises Conflict if it is not kept."""
    kept = [each.generation for each in found.kept]
    if not kept:
        raise Conflict(_("There is no reset to undo."))
    if generation is None:
        return kept[0]
    if generation == found.generation:
        raise Conflict(_("Generation {number} is in use already.").format(number=generation))
    if generation not in kept:
        raise Conflict(
            _("Generation {number} is not kept. You can go back to: {kept}.").format(
                number=generation, kept=", ".join(map(str, kept))
            )
        )
    return generation


def expired(connection: Connection, user: str, server: str) -> tuple[int, ...]:
    """Generations whose volumes may be deleted, oldest first."""
    kept = {each.generation for each in read(connection, user, server).kept}
    left = connection.execute(
        select(left_generation.c.generation).where(*_is(left_generation, user, server))
    ).scalars()
    return tuple(sorted(set(left) - kept))


def give_up(connection: Connection, user: str, server: str, generation: int) -> None:
    """Expire a kept generation before its time. Raises Conflict if it is not kept."""
    found = read(connection, user, server)
    require_kept(found, generation)
    # what has expired before must not come back in its place: its volume may be gone
    stay = [each.generation for each in found.kept if each.generation != generation]
    connection.execute(
        update(left_generation)
        .where(
            *_is(left_generation, user, server),
            left_generation.c.generation.not_in(stay),
            left_generation.c.left_change > 0,
        )
        .values(left_change=-left_generation.c.left_change)
    )


def forget(connection: Connection, user: str, server: str, generation: int) -> None:
    """The volume of an expired generation was deleted. Raises Conflict if it was not expired."""
    if generation not in expired(connection, user, server):
        raise Conflict(f"Generation {generation} of this environment is still kept.")
    connection.execute(
        delete(left_generation).where(
            *_is(left_generation, user, server), left_generation.c.generation == generation
        )
    )


def known(connection: Connection) -> tuple[tuple[str, str], ...]:
    """The (user, server) of every environment that was ever reset."""
    rows = connection.execute(
        select(environment.c.user_name, environment.c.server_name).order_by(
            environment.c.user_name, environment.c.server_name
        )
    )
    return tuple((row.user_name, row.server_name) for row in rows)


def _switch(
    connection: Connection, before: Environment, generation: int, now: datetime
) -> Environment:
    user, server = before.user, before.server
    changes = connection.execute(
        select(environment.c.changes).where(*_is(environment, user, server))
    ).scalar()
    newest = max(before.newest, generation)
    if changes is None:
        changes = 0
        connection.execute(
            insert(environment).values(
                user_name=user,
                server_name=server,
                generation=generation,
                newest=newest,
                changes=1,
            )
        )
    else:
        connection.execute(
            update(environment)
            .where(*_is(environment, user, server))
            .values(generation=generation, newest=newest, changes=changes + 1)
        )
    connection.execute(
        delete(left_generation).where(
            *_is(left_generation, user, server), left_generation.c.generation == generation
        )
    )
    connection.execute(
        insert(left_generation).values(
            user_name=user,
            server_name=server,
            generation=before.generation,
            left_change=changes + 1,
            left_at=now,
        )
    )
    return read(connection, user, server)


def _is(table: Table, user: str, server: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return table.c.user_name == user, table.c.server_name == server
