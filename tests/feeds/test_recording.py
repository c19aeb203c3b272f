import gzip
import hashlib

import pytest

from feeds import recording
from feeds.feed import FeedError
from feeds.recording import look_at
from feeds.tick import Quote, Trade

T = 1381132800554000
HEADER = "time,symbol,price,size,exchange\n"


@pytest.fixture(params=["ticks.csv", "ticks.csv.gz"])
def write(request, tmp_path):
    """Writes a file, plain or compressed, and gives its path."""

    def write_text(text):
        path = tmp_path / request.param
        data = text if isinstance(text, bytes) else text.encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        return str(path)

    return write_text


@pytest.fixture
def small_blocks(monkeypatch):
    """Makes files long compared with what is read at once."""
    monkeypatch.setattr(recording, "BLOCK_CHARACTERS", 64)


def rows(count, symbol="BAC"):
    return "".join(f"{T + row},{symbol},{13 + row / 100:.2f},{row},P\n" for row in range(count))


def read(path):
    """All ticks of a file."""
    found = look_at(path)
    return [tick for ticks in found.ticks({symbol: symbol for symbol in found.first_times}) for tick in ticks]


def refusal(path):
    """The message with which a file is refused, without its path."""
    with pytest.raises(FeedError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def test_a_first_look_finds_what_is_in_a_file(write):
    """Its rows, the first time of each symbol, and a digest of its bytes."""
    path = write(HEADER + rows(3) + f"{T + 9},IBM,180,1,P\n" + rows(2))
    found = look_at(path)
    assert found.rows == 6
    assert found.first_times == {"BAC": T, "IBM": T + 9}
    assert found.begin == T
    with open(path, "rb") as file:
        assert found.digest == hashlib.sha256(file.read()).digest()


def test_ticks_come_in_the_order_of_lines(write):
    """Equal rows are different ticks."""
    line = f"{T},BAC,13.5,100,P\n"
    assert read(write(HEADER + line + line)) == [Trade("BAC", 13.5, 100, T, exchange="P")] * 2


def test_quotes_are_read_too(write):
    """With a side missing here and there."""
    header = "time,symbol,bid,bid_size,ask,ask_size\n"
    assert read(write(header + f"{T},BAC,13.5,100,,\n{T},BAC,13.5,100,13.6,7\n")) == [
        Quote("BAC", 13.5, 100, None, 0, T),
        Quote("BAC", 13.5, 100, 13.6, 7, T),
    ]


@pytest.mark.usefixtures("small_blocks")
def test_long_files_are_read_piece_by_piece(write):
    """Lines that are cut by the end of a piece are whole again."""
    ticks = read(write(HEADER + rows(200)))
    assert [tick.time for tick in ticks] == list(range(T, T + 200))


def test_what_spreadsheets_write_is_read(write):
    """A byte order mark, Windows line ends, quotes, blank lines, no line break at the end."""
    text = "\ufeff" + HEADER + f'\n{T},"BAC",13.5,100,"P,Q"\n\n{T},BAC,13.5,100,'
    ticks = read(write(text.replace("\n", "\r\n")))
    assert ticks == [Trade("BAC", 13.5, 100, T, exchange="P,Q"), Trade("BAC", 13.5, 100, T)]
    assert look_at(write(text)).rows == 2


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (f"{T},BAC,13.5,100", "found 4 fields, expected 5: time,symbol,price,size,exchange"),
        (f"{T},BAC,13.5,100,P,Q", "found 6 fields, expected 5: time,symbol,price,size,exchange"),
        (f"{T},bac,13.5,100,P", "'bac' is no symbol; allowed: 1 to 16 of A-Z"),
        (f"{T},BAC,13.5000001,100,P", "price '13.5000001': expected at most 6 decimals"),
        (f"{T},BAC,nan,100,P", "price 'nan': expected a number"),
        (f"{T},BAC,13.5,-1,P", "size '-1': expected 0 or more"),
        (f"{T // 1000},BAC,13.5,100,P", f"time '{T // 1000}': expected whole microseconds since 1970, from"),
        (f"{T}000,IBM,13.5,100,P", f"time '{T}000': expected whole microseconds since 1970, from"),
        (f'{T},BAC,13.5,100,"P\nQ"', "exchange 'P\\nQ': expected at most 64 printable characters"),
        (f'{T},BAC,13.5,100,"P', "unexpected end of data; expected comma-separated values"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(write, bad, message):
    """The header is line 1; blank lines count."""
    text = HEADER + rows(9) + "\n\n" + rows(9) + bad + "\n"
    assert refusal(write(text)).startswith(f"line 22: {message}")


def test_a_bad_header_is_line_1(write):
    """With what is wrong with it."""
    assert refusal(write("time,symbol,price,size,venue\n" + rows(1))).startswith(
        "line 1: unknown column 'venue'; trades"
    )
    assert refusal(write('time,"symbol\n')).startswith("line 1: unexpected end of data")


def test_a_file_without_rows_is_refused(write):
    """Nothing at all, or nothing but a header."""
    assert refusal(write("")).startswith("line 1: no column 'time', 'symbol', 'price', 'size'; trades have")
    assert refusal(write(HEADER + "\n")) == "found no rows after the header, expected at least one"


def test_text_that_is_no_utf_8_is_refused_by_its_line(write):
    """With the bytes that were found."""
    data = (HEADER + rows(9)).encode() + f"{T},BAC,1,1,caf\xe9\n".encode("latin-1") + rows(3000).encode()
    assert refusal(write(data)) == "line 11: found the bytes b'\\xe9', expected UTF-8 text"
    assert refusal(write(b"\xff" + data)).startswith("line 1: found the bytes b'\\xff', expected UTF-8")


def test_a_gzip_file_that_was_cut_is_refused_after_its_last_line(tmp_path):
    """As after a broken download."""
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(gzip.compress((HEADER + rows(9)).encode())[:-9])
    assert refusal(str(path)).endswith("; expected a complete gzip file")
    assert refusal(str(path)).startswith("line ")


def test_a_gzip_file_with_a_wrong_checksum_is_refused(tmp_path):
    """A damaged file is not replayed."""
    path = tmp_path / "damaged.csv.gz"
    data = bytearray(gzip.compress((HEADER + rows(9)).encode()))
    data[-6] ^= 1
    path.write_bytes(data)
    assert "CRC check failed" in refusal(str(path))


def test_a_plain_file_that_is_called_gz_is_refused(tmp_path):
    """Its first line tells."""
    path = tmp_path / "plain.csv.gz"
    path.write_text(HEADER + rows(1))
    assert refusal(str(path)).startswith("line 1: Not a gzipped file")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    """It may have gone since it was found."""
    assert refusal(str(tmp_path / "gone.csv")) == "No such file or directory"


def test_a_symbol_that_was_not_there_at_the_start_is_refused(write):
    """A file that somebody writes to is no recording."""
    path = write(HEADER + rows(3))
    found = look_at(path)
    write(HEADER + rows(3) + rows(1, "IBM"))
    with pytest.raises(FeedError, match="line 5: symbol 'IBM' was not there at the start: the file has changed"):
        list(found.ticks({"BAC": "BAC"}))


def test_a_generator_that_is_closed_closes_the_file(write):
    """Warnings of open files would fail this test."""
    ticks = look_at(write(HEADER + rows(3))).ticks({"BAC": "BAC"})
    next(ticks)
    ticks.close()
