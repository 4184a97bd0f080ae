"""What the audit trail calls each change. The one list: nothing else can be written there.

Guarantees: each has a line about it, which docs/rest-api.md shows; a name that was once written is
never changed, because it is in ledgers and in what others filter by. New ones are `thing.verb`.
"""

from __future__ import annotations

from enum import StrEnum


class Action(StrEnum):
    """A change, and `about`: what has happened when a line of this name is written."""

    about: str

    def __new__(cls, value: str, about: str) -> Action:
        """Both are needed, so that none is without words."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.about = about
        return member

    # leases
    GRANT = "grant", "a server got a lease, with the devices named"
    TAKE_UP = "take up", "a server that comes back goes on with its held lease"
    CREATE = "create", "the container of a lease is made, and about to start"
    RUN = "run", "the server of a lease answers"
    HOLD = "hold", "the devices are kept for the server while its container is replaced"
    CONTAINER_GONE = "container gone", "the Engine says that a held lease's container is gone"
    END = "end", "a lease has ended and its devices are free"
    EXTEND = "extend", "a lease got a later end"
    SHORTEN = "shorten", "a lease got an earlier end"
    REVOKE = "revoke", "a lease is taken away at that time, after notice"
    UNDO_REVOKE = "undo revoke", "that was taken back"
    RECLAIM = "reclaim", "idle devices will be taken back at that time, or not any more"

    # the queue
    QUEUE_JOIN = "queue.join", "a server waits for devices"
    QUEUE_CHANGE = (
        "queue.change",
        "a server that waits asks for something else, or is waited for anew",
    )
    QUEUE_LEAVE = "queue.leave", "a server does not wait any more, without devices"
    QUEUE_MOVE = "queue.move", "an admin gave a server another place in the line"
    QUEUE_UNDO_MOVE = "queue.undo_move", "that was taken back"
    QUEUE_CANCEL = "queue.cancel", "an admin took a server out of the line"
    DROP_FROM_QUEUE = "drop from queue", "a server does not wait any more, because its hub ended"
    START_FAIL = "start.fail", "a server was started and ended before it answered"

    # devices
    DEVICE = "device", "a device is healthy, quarantined or missing from now on"
    CORDON = "cordon", "nobody new gets a device"
    DRAIN = "drain", "the same, and its leases end by the time named"
    DEVICE_SLOTS = (
        "device.slots",
        "an admin set how many slots a device has, or left it to the policy",
    )
    UNCORDON = "uncordon", "a cordon or a drain was lifted"

    # images
    IMAGE_PIN = "image.pin", "new servers get the image named in the place of the configured one"
    IMAGE_UNPIN = "image.unpin", "new servers get the configured image again"
    IMAGE_PULL = "image.pull", "an image is being pulled to this host"
    IMAGE_PULL_END = "image.pull_end", "that is done, has failed, was cancelled or was cut off"

    # people
    HAND_RAISE = "hand.raise", "a user asks for help, or says something else of what is the matter"
    HAND_LOWER = "hand.lower", "a user's hand is down, by themselves or by who has helped"

    # environments
    ENVIRONMENT_RESET = "environment.reset", "a fresh environment was asked for"
    ENVIRONMENT_UNDO = "environment.undo", "an earlier environment was asked for"
    ENVIRONMENT_STEP = "environment.step", "a reset or an undo came to the step named"
    ENVIRONMENT_GIVE_UP = (
        "environment.give_up",
        "an earlier environment is deleted for want of space",
    )
    GROUP_RESET_BEGIN = "group_reset.begin", "fresh environments for a whole group were asked for"
    GROUP_RESET_REFUSE = "group_reset.refuse", "a member of a group cannot be reset"
    GROUP_RESET_CANCEL = "group_reset.cancel", "no other member of the group is reset"
    GROUP_RESET_FINISH = "group_reset.finish", "every member of the group has a result"
    GROUP_START_BEGIN = "group_start.begin", "starts of a whole group's servers were asked for"
    GROUP_START_ASK = "group_start.ask", "JupyterHub is asked to start a member's server"
    GROUP_START_RESULT = "group_start.result", "what came of a member's start"
    GROUP_START_CANCEL = "group_start.cancel", "no other member's server is started"
    GROUP_START_FINISH = "group_start.finish", "every member of the start has a result"
    GROUP_STOP_BEGIN = "group_stop.begin", "stops of a whole group's servers were asked for"
    GROUP_STOP_ASK = "group_stop.ask", "JupyterHub is asked to stop a member's server"
    GROUP_STOP_RESULT = "group_stop.result", "what came of a member's stop"
    GROUP_STOP_CANCEL = "group_stop.cancel", "no other member's server is stopped"
    GROUP_STOP_FINISH = "group_stop.finish", "every member of the stop has a result"

    # GPU doctor, DDP and notices
    EXAMINE = "examine", "somebody had a server examined from outside"
    DOCTOR_VERDICT = "doctor.verdict", "GPU doctor found something new about a server, or nothing"
    DDP_RUN = "ddp.run", "a DDP run of a server goes on, hangs, goes on again, or has ended"
    NOTICE_ADD = "notice.add", "a user is told something about a server"
    NOTICE_READ = "notice.read", "a user has read what they were told"

    # the ledger as a whole
    CLAIM = "claim", "a hub works with this ledger"
    HUB_RUN = "hub run", "a process of the hub starts"
    POLICY_SET = "policy.set", "other rules about devices, terms and quotas are in force"
    SETTINGS_SET = "settings.set", "the hub was started with other values of the settings named"
