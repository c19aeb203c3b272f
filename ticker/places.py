"""Writes down where a server is found."""

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - to be recognised, not bound
"""Hosts that stand for all addresses of a machine."""


def host_and_port(host: str, port: int) -> str:
    """As they stand in a URL."""
    return f"{f'[{host}]' if ':' in host else host}:{port}"


def from_here(host: str, port: int) -> str:
    """The same for whoever is on this machine: nobody can go to all of its addresses at once."""
    return host_and_port("127.0.0.1" if host in EVERYWHERE else host, port)
