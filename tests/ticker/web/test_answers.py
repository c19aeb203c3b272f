import asyncio
import gzip

import pytest
import zstandard

from ticker.history.cache import Cache
from ticker.history.formats import Piece
from ticker.web.answers import Answers, Key, RestsOn, make_answer
from ticker.web.negotiation import Shape

JSON = Shape("json", "application/json")
TEXT = [Piece(b"x" * 3_000), Piece(b"y" * 3_000)]


def answer(encodings=(), pieces=TEXT, **more):
    return make_answer(pieces, JSON, encodings, route="/v1/candles/{symbol}", rows=5, **more)


def key(target=b"/a"):
    return Key(target, JSON, ())


@pytest.fixture
def answers():
    made = Answers(Cache(1 << 20))
    made.hear(heard=True)
    return made


def keep(answers, *rests_on, target=b"/a", mark=None):
    answers.keep(key(target), answer(), rests_on, answers.mark() if mark is None else mark)


def test_a_body_is_compressed_as_the_client_takes_it():
    """Each form has an ETag of its own; what is small stays as it is."""
    body = TEXT[0].text + TEXT[1].text
    plain, gzipped, zstd = answer(), answer(("gzip",)), answer(("zstd",), kept=True)
    assert plain.body == gzip.decompress(gzipped.body) == zstandard.decompress(zstd.body) == body
    assert len({plain.etag, gzipped.etag, zstd.etag}) == 3
    assert all(one.etag[:1] == b'"' for one in (plain, gzipped, zstd))
    assert (b"content-encoding", b"gzip") in gzipped.headers
    assert (b"content-encoding", b"zstd") in zstd.headers
    assert answer(("gzip",), [Piece(b"small")]).body == b"small"
    assert zstandard.decompress(answer(("zstd",)).body) == body


def test_what_is_sent_once_is_put_together_from_what_was_compressed_before():
    """So zstd gives way to gzip there, for whoever reads both."""
    assert (b"content-encoding", b"gzip") in answer(("zstd", "gzip")).headers
    assert (b"content-encoding", b"zstd") in answer(("zstd", "gzip"), kept=True).headers


def test_a_304_says_what_a_200_would_but_of_the_body():
    """Its validator, and how long that may be relied upon."""
    made = answer(("gzip",), more=[(b"link", b"<x>")])
    names = [name for name, _ in made.validators]
    assert {b"etag", b"vary", b"cache-control", b"link"} <= set(names)
    assert not {b"content-length", b"content-type"} & set(names)
    assert b"\r\netag: " + made.etag in b"\r\n" + made.not_modified
    assert b"content-length" not in made.not_modified
    assert b"content-length: %d\r\n" % len(made.body) in made.head


def test_an_answer_is_remembered_until_something_it_rests_on_changes(answers):
    """The same symbol, the same kind of rows, times in common: anything else leaves it alone."""
    keep(answers, RestsOn("AAPL", "1m", 100, 200))
    for symbol, changed in (
        ("MSFT", None),
        ("AAPL", {"1s": (0, 1_000)}),
        ("AAPL", {"1m": (0, 100)}),
        ("AAPL", {"1m": (200, 300), "1d": (0, 10)}),
        ("AAPL", {}),
    ):
        answers.changed(symbol, changed)
        assert answers.get(key()) is not None
    answers.changed("AAPL", {"1m": (199, 200)})
    assert answers.get(key()) is None
    for changed in (None, {"1m": (0, 101)}):
        keep(answers, RestsOn("AAPL", "1m", 100, 200))
        answers.changed("AAPL", changed)
        assert answers.get(key()) is None


def test_an_answer_of_several_symbols_rests_on_all_of_them(answers):
    """And is forgotten for all once it is."""
    for symbol in ("AAPL", "MSFT"):
        keep(answers, RestsOn("AAPL", "1m", 0, 9), RestsOn("MSFT", "1m", 0, 9))
        assert answers.get(key()) is not None
        answers.changed(symbol, {"1m": (3, 4)})
        assert answers.get(key()) is None
    answers.changed("AAPL")


def test_what_was_read_before_a_change_was_told_is_not_kept(answers):
    """Nobody knows whether its rows are those of before or after."""
    mark = answers.mark()
    answers.changed("AAPL", {"1m": (0, 1)})
    keep(answers, RestsOn("AAPL", "1m", 100, 200), mark=mark)
    assert answers.get(key()) is None
    keep(answers, RestsOn("MSFT", "1m", 100, 200), mark=mark)
    assert answers.get(key()) is not None


def test_nothing_is_used_while_changes_are_not_heard_of(answers):
    """Nor what was remembered before, once they are again; nor what was read meanwhile."""
    keep(answers, RestsOn("AAPL", "1m", 100, 200))
    mark = answers.mark()
    answers.hear(heard=False)
    assert answers.get(key()) is None
    keep(answers, RestsOn("AAPL", "1m", 100, 200))
    answers.hear(heard=True)
    assert answers.get(key()) is None
    keep(answers, RestsOn("AAPL", "1m", 100, 200), mark=mark)
    assert answers.get(key()) is None
    keep(answers, RestsOn("AAPL", "1m", 100, 200))
    assert answers.get(key()) is not None


def test_what_gave_way_to_newer_answers_is_forgotten_whole():
    """The bound on bytes holds for what is known about answers, too."""
    cache = Cache(60_000)
    answers = Answers(cache)
    answers.hear(heard=True)
    for number in range(100):
        keep(answers, RestsOn(f"S{number}", "1m", 0, 9), target=b"/%d" % number)
    assert cache.size_bytes <= 60_000
    assert len(answers._by_symbol) == len(cache) < 20
    assert answers.get(key(b"/99")) is not None


async def test_who_asks_the_same_waits_for_what_is_made(answers):
    """And has it when it was kept; who is cancelled meanwhile takes nothing from the others."""
    with answers.making(key()):
        waiting = [asyncio.create_task(answers.soon(key())) for _ in range(3)]
        other = await answers.soon(key(b"/b"))
        assert other is None
        await asyncio.sleep(0)
        waiting[0].cancel()
        keep(answers, RestsOn("AAPL", "1m", 0, 10))
    first, *found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert found == [answers.get(key())] * 2
    assert found[0] is not None


@pytest.mark.parametrize("failure", [None, RuntimeError, asyncio.CancelledError])
async def test_nobody_waits_for_ever_for_what_comes_to_nothing(answers, failure):
    """It failed, was cancelled, or cannot be kept: each makes its own, and whoever comes next is waited for again."""
    try:
        with answers.making(key()):
            waiting = asyncio.create_task(answers.soon(key()))
            await asyncio.sleep(0)
            with answers.making(key()):
                pass
            await asyncio.sleep(0)
            assert not waiting.done()
            if failure:
                raise failure
    except (RuntimeError, asyncio.CancelledError):
        pass
    assert await waiting is None
    assert await answers.soon(key()) is None


async def test_what_has_changed_meanwhile_is_not_given_to_who_waited(answers):
    """It was read before the change, and may be asked for after it."""
    with answers.making(key()):
        mark = answers.mark()
        waiting = asyncio.create_task(answers.soon(key()))
        await asyncio.sleep(0)
        answers.changed("AAPL")
        keep(answers, RestsOn("AAPL", "1m", 0, 10), mark=mark)
    assert await waiting is None
