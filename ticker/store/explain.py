"""Says in one line what is wrong with a server, and what to look at."""

import os
import re

from redis.exceptions import AuthenticationError, BusyLoadingError, InvalidResponse, NoPermissionError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError


class NoPrimary(RedisConnectionError):
    """No sentinel names a server that takes writes."""


def explain(address: str, error: Exception) -> str:
    """One line: what happened and what to look at."""
    told = one_line(error)
    match error:
        case NoPrimary():
            return f"{address} has no primary: {told}; check that servers and sentinels run, and redis.url"
        case AuthenticationError():
            return f"{address} refuses the login ({told}); check user and password in redis.url"
        case NoPermissionError():
            return f"{address} lacks a right for the user of redis.url ({told}); allow it in the server's ACL"
        case BusyLoadingError():
            return f"{address} is still loading its data; try again in a moment"
        case ResponseError() if "DB index" in told:
            return f"{address} has no such database ({told}); check the number at the end of redis.url"
        case RedisTimeoutError():
            return f"{address} does not answer in time; check host and port of redis.url, and whether it speaks TLS"
        case InvalidResponse():
            return f"{address} does not speak the Redis protocol; check host and port of redis.url"
        case RedisConnectionError() | OSError():
            return f"{address} cannot be reached ({told}); check that the server runs, and host and port of redis.url"
    return f"{address} cannot be used ({told}); check redis.url"


def one_line(error: Exception) -> str:
    """What an error says, without what redis-py puts around it."""
    told = " ".join(str(error).split()) or type(error).__name__
    if refused := re.match(r"Error (\d+) connecting to .* Connect call failed", told):
        return os.strerror(int(refused[1]))
    return re.sub(r"^Error -?\d+ connecting to \S+\. ", "", told).rstrip(".")
