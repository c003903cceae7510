"""The Channel Access library's own messages."""

__all__ = ["quiet_channel_access"]


def quiet_channel_access() -> None:
    """Keep libca from writing to the terminal when an IOC disconnects: devices tell that themselves."""
    import epics

    epics.ca.disable_ca_messages()
