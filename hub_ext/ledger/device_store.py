"""The part of Ledger about devices, notices and usage."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime

from ..models import (
    Cordon,
    Device,
    DeviceChange,
    DeviceHealth,
    DeviceRecord,
    Key,
    Lease,
    Notice,
    NoticeKind,
    Usage,
)
from . import accounting, device_health, devices, notices
from . import slots as slots_of
from .database import Database
from .slots import SlotHolder


class DeviceStore:
    """What inventories and admins say of devices, what users are told, who used what."""

    _database: Database
    _actor: str

    # -- devices

    def record_inventory(
        self, devices_found: Iterable[Device], now: datetime
    ) -> tuple[DeviceChange, ...]:
        """Store what an inventory found, with the mode that the policy gives each device.

        A device it did not find becomes MISSING, an unhealthy one QUARANTINED; no device is
        deleted and no lease is freed. Gives the changes of state; holders of a device that fell
        ill or is well again get a notice. Raises ValueError if a UUID occurs twice.
        """
        found = tuple(devices_found)
        with self._database.write() as connection:
            return devices.record(connection, found, now, self._actor)

    def devices(self) -> tuple[DeviceRecord, ...]:
        """All devices ever seen, in order of UUID."""
        with self._database.read() as connection:
            return devices.read(connection)

    def device_history(
        self, uuid: str, limit: int, before: int | None = None
    ) -> tuple[DeviceHealth, ...]:
        """At most `limit` changes of a device's state, the latest first. Raises NotFound."""
        with self._database.read() as connection:
            return device_health.read(connection, uuid, limit, before)

    def cordon(self, uuid: str, cordon: Cordon, reason: str, now: datetime, *, actor: str) -> None:
        """Take a device out of use, or put it back (Cordon.NONE); leases on it go on.

        Lifting a drain gives its leases their term back. Raises NotFound.
        """
        with self._database.write() as connection:
            devices.cordon(connection, uuid, cordon, reason, now, actor)

    def drain(
        self, uuid: str, until: datetime, reason: str, now: datetime, *, actor: str
    ) -> tuple[Lease, ...]:
        """Take a device out of use, and let its leases end by `until`; gives them.

        Their users get a notice. Raises NotFound.
        """
        with self._database.write() as connection:
            return devices.drain(connection, uuid, until, reason, now, actor)

    def divide(
        self, uuid: str, slots: int | None, reason: str, now: datetime, *, actor: str
    ) -> None:
        """Divide a device into so many slots: 1, exclusive; None, as configured.

        It stays so until the configuration says another number for it than it does now. Raises
        NotFound, and Conflict while somebody holds the device.
        """
        with self._database.write() as connection:
            slots_of.divide(connection, uuid, slots, reason, now, actor)

    def slot_holders(self, uuid: str) -> tuple[SlotHolder, ...]:
        """Who holds which slot of a device."""
        with self._database.read() as connection:
            return slots_of.holders(connection, uuid)

    # -- notices

    def notify(
        self, user: str, server: str, kind: NoticeKind, detail: Mapping[str, str], now: datetime
    ) -> Notice:
        """Tell a user something about a server; the latest 20 unread ones of it are kept."""
        with self._database.write() as connection:
            return notices.add(connection, user, server, kind, detail, now, self._actor)

    def notify_all(
        self,
        servers: Iterable[Key],
        kind: NoticeKind,
        detail: Mapping[str, str],
        now: datetime,
        *,
        actor: str,
    ) -> None:
        """The same for the users of several servers: all of them are told, or none is."""
        with self._database.write() as connection:
            notices.add_all(connection, tuple(servers), kind, detail, now, actor)

    def notices(self, user: str, server: str | None = None) -> tuple[Notice, ...]:
        """What a user has not read, oldest first; of one server, or of all (None)."""
        with self._database.read() as connection:
            return notices.read(connection, user, server)

    def read_notices(
        self, user: str, server: str, up_to_id: int, now: datetime, *, actor: str = ""
    ) -> None:
        """The user (or `actor` for them) has read those of this server up to `up_to_id`."""
        with self._database.write() as connection:
            notices.mark_read(connection, user, server, up_to_id, now, actor or user)

    # -- usage

    def usage(self, since: date, until: date, now: datetime) -> tuple[Usage, ...]:
        """Device-seconds on the UTC days `since` to `until`, both included.

        Live leases count up to `now`. Sorted by day, user, group and device.
        """
        with self._database.read() as connection:
            return accounting.by_days(connection, since, until, now)

    def usage_sums(
        self, since: date, until: date, now: datetime, by: Collection[str]
    ) -> tuple[Usage, ...]:
        """The same, summed by some of "day", "user", "group" and "device"; the rest says nothing.

        By group: who is in two counts for both.
        """
        with self._database.read() as connection:
            return accounting.sums(connection, since, until, now, by)

    def device_seconds(self, user: str, since: datetime, now: datetime) -> float:
        """What a user has used in [since, now], live leases included."""
        with self._database.read() as connection:
            return accounting.device_seconds(connection, since, now, user=user)

    def group_device_seconds(self, group: str, since: datetime, now: datetime) -> float:
        """What the members of a group together have used in [since, now], live ones included."""
        with self._database.read() as connection:
            return accounting.device_seconds(connection, since, now, group=group)
