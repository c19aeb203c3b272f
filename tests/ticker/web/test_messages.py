import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticker.candles.interval import INTERVALS
from ticker.errors import BadRequest, StoreUnavailable
from ticker.hub.topic import EVERY_MESSAGE, Delivery, Topic
from ticker.web import messages
from ticker.web.messages import Request, RequestError, check, from_query, parse

SUBSCRIBE = {"op": "subscribe", "id": 1, "channel": "trades", "symbols": ["AAPL", "MSFT"]}
CANDLES = {"op": "subscribe", "id": 3, "channel": "candles", "interval": "1m", "symbols": ["AAPL"]}


def refused(given_fields: dict) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse(json.dumps(given_fields))
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("given_fields", "expected"),
    [
        (SUBSCRIBE, Request("subscribe", 1, "trades", None, ("AAPL", "MSFT"))),
        (SUBSCRIBE | {"channel": "quotes", "symbols": ["*"]}, Request("subscribe", 1, "quotes", None, ("*",))),
        (SUBSCRIBE | {"symbols": ["*", "AAPL"]}, Request("subscribe", 1, "trades", None, ("*", "AAPL"))),
        (SUBSCRIBE | {"deliver": "all"}, Request("subscribe", 1, "trades", None, ("AAPL", "MSFT"))),
        (SUBSCRIBE | {"snapshot": False}, Request("subscribe", 1, "trades", None, ("AAPL", "MSFT"), snapshot=False)),
        (CANDLES, Request("subscribe", 3, "candles", "1m", ("AAPL",))),
        (CANDLES | {"op": "unsubscribe"}, Request("unsubscribe", 3, "candles", "1m", ("AAPL",))),
        (
            {"op": "unsubscribe", "channel": "trades", "symbols": ["A"]},
            Request("unsubscribe", None, "trades", None, ("A",)),
        ),
        ({"op": "list", "id": 6}, Request("list", 6)),
        ({"op": "ping", "id": "x"}, Request("ping", "x")),
        ({"op": "ping"}, Request("ping")),
        ({"op": "ping", "id": None}, Request("ping")),
    ],
)
def test_every_form_of_request_is_understood(given_fields, expected):
    """With the defaults of what is left out."""
    assert parse(json.dumps(given_fields)) == expected


@pytest.mark.parametrize("interval", INTERVALS)
def test_candles_come_in_every_interval(interval):
    """Those of the contract."""
    request = check(CANDLES | {"interval": interval})
    assert request.interval == interval
    assert request.topic_of_all == Topic("candles", "*", interval)


def test_a_symbol_that_is_named_twice_counts_once():
    """In the order of the request."""
    assert check(SUBSCRIBE | {"symbols": ["B", "A", "B", "*", "*"]}).symbols == ("B", "A", "*")


@pytest.mark.parametrize("request_id", [0, -1, 2**53, 2**64 - 1, "", "x", "7"])
def test_any_whole_number_or_text_is_an_id(request_id):
    """It is echoed as it came."""
    request = parse(json.dumps({"op": "ping", "id": request_id}))
    assert request.id == request_id
    assert json.loads(messages.message("pong", request.id, time=5)) == {"type": "pong", "id": request_id, "time": 5}


@pytest.mark.parametrize("request_id", [True, False, 1.5, [], {}, [1], 10**30])
def test_any_other_id_is_refused_and_not_echoed(request_id):
    """The answer has none, since it could not be read."""
    error = refused({"op": "ping", "id": request_id})
    assert (error.code, error.id) == ("bad_request", None)
    assert "expected a whole number or a text" in str(error)


@pytest.mark.parametrize(
    "text", ["", "{", "nonsense", '{"op":"ping"}x', "{'op':'ping'}", '{"op":NaN}', "\x00", "[" * 5000, '"\\ud800"']
)
def test_what_is_no_json_is_refused(text):
    """With the code for it."""
    with pytest.raises(RequestError, match=r"^not JSON: ") as caught:
        parse(text)
    assert (caught.value.code, caught.value.id) == ("bad_json", None)


@pytest.mark.parametrize(
    ("text", "found"), [("[]", "list"), ("5", "int"), ('"x"', "str"), ("null", "NoneType"), ("true", "bool")]
)
def test_json_that_is_no_object_is_refused(text, found):
    """Requests come one at a time, never in a list."""
    with pytest.raises(RequestError, match=f"^found {found}, expected a JSON object with 'op'") as caught:
        parse(text)
    assert caught.value.code == "bad_request"


def test_positions_are_read_as_they_are_written():
    """Those of symbols that are named, and of any under `*`."""
    resume = {"AAPL": {"epoch": "k3x9", "seq": 1200}, "MSFT": {"epoch": None, "seq": 0}}
    for symbols in (["AAPL", "MSFT"], ["*"], ["*", "AAPL"]):
        request = parse(json.dumps(SUBSCRIBE | {"symbols": symbols, "resume": resume}))
        assert request.resume == {"AAPL": ("k3x9", 1200), "MSFT": (None, 0)}
    assert parse(json.dumps(SUBSCRIBE)).resume == {}


@pytest.mark.parametrize(
    ("resume", "complaint"),
    [
        (None, "'resume' is None, expected an object that gives symbols their positions"),
        ([], "'resume' is [], expected an object that gives symbols their positions"),
        ("k3x9:1234", "'resume' is 'k3x9:1234', expected an object"),
        ({"MSFT": {"epoch": "k", "seq": 1}}, "'MSFT' is in 'resume' and not in 'symbols'"),
        ({"*": {"epoch": "k", "seq": 1}}, "'*' is in 'resume' and not in 'symbols'"),
        ({"AAPL": 12}, "'resume' of 'AAPL' is 12, expected a position"),
        ({"AAPL": {"seq": 1}}, "'resume' of 'AAPL' has no 'epoch', expected a position"),
        ({"AAPL": {"epoch": "k"}}, "'resume' of 'AAPL' has no 'seq', expected a position"),
        (
            {"AAPL": {"epoch": "k", "seq": 1, "recovered": True}},
            "'resume' of 'AAPL' has 'recovered', expected a position",
        ),
        ({"AAPL": {"epoch": "k", "seq": -1}}, "'seq' is -1, expected a whole number from 0"),
        ({"AAPL": {"epoch": "k", "seq": 1.0}}, "'seq' is 1.0, expected a whole number from 0"),
        ({"AAPL": {"epoch": "k", "seq": True}}, "'seq' is True, expected a whole number from 0"),
        ({"AAPL": {"epoch": "k", "seq": 2**53}}, "expected a whole number from 0"),
        ({"AAPL": {"epoch": None, "seq": 5}}, "'epoch' is null with 'seq' 5; it is null only with 'seq' 0"),
        ({"AAPL": {"epoch": "", "seq": 5}}, "'epoch' is '', expected a text, or null with 'seq' 0"),
        ({"AAPL": {"epoch": 7, "seq": 5}}, "'epoch' is 7, expected a text, or null with 'seq' 0"),
    ],
)
def test_a_position_that_is_none_is_refused(resume, complaint):
    """As a whole, with what was found and what is expected."""
    error = refused(SUBSCRIBE | {"symbols": ["AAPL"], "id": 4, "resume": resume})
    assert (error.code, error.id) == ("bad_request", 4)
    assert complaint in str(error)


def test_the_star_has_no_position_of_its_own():
    """Positions are those of single symbols."""
    error = refused(SUBSCRIBE | {"symbols": ["*"], "resume": {"*": {"epoch": "k", "seq": 1}}})
    assert "'resume' of '*': expected 1 to 16 of" in str(error)


@pytest.mark.parametrize("op", [None, "", "Subscribe", "sub", 5, ["ping"], {"ping": 1}, True])
def test_an_unknown_op_is_refused_with_those_there_are(op):
    """By the id of the request."""
    error = refused({"op": op, "id": 4})
    assert (error.code, error.id) == ("unknown_op", 4)
    assert f"'op' is {op!r}; allowed: subscribe, unsubscribe, list, " in str(error)


def test_a_request_without_op_is_refused():
    """There is no default."""
    assert refused({"id": 4}).code == "unknown_op"
    assert refused({}).code == "unknown_op"


@pytest.mark.parametrize(
    ("given_fields", "field"),
    [
        (SUBSCRIBE | {"symbol": "AAPL"}, "symbol"),
        (SUBSCRIBE | {"Channel": "trades"}, "Channel"),
        ({"op": "ping", "channel": "trades"}, "channel"),
        ({"op": "list", "symbols": ["A"]}, "symbols"),
        (SUBSCRIBE | {"op": "unsubscribe", "snapshot": True}, "snapshot"),
        (SUBSCRIBE | {"op": "unsubscribe", "deliver": "all"}, "deliver"),
        (SUBSCRIBE | {"": 1}, ""),
    ],
)
def test_an_unknown_field_is_refused_by_name(given_fields, field):
    """With those that the operation has."""
    error = refused(given_fields)
    assert (error.code, error.id) == ("bad_request", given_fields.get("id"))
    assert f"unknown field {field!r} for {given_fields['op']!r}; allowed: " in str(error)
    assert ", ".join(sorted(messages.FIELDS[given_fields["op"]])) in str(error)


@pytest.mark.parametrize("channel", [None, "", "trade", "TRADES", "*", 5, ["trades"], {}, True])
def test_an_unknown_channel_is_refused(channel):
    """With those there are."""
    error = refused(SUBSCRIBE | {"channel": channel})
    assert (str(error), error.code, error.id) == (
        f"'channel' is {channel!r}; allowed: trades, quotes, candles",
        "unknown_channel",
        1,
    )


def test_candles_need_an_interval():
    """There is no default here, as in the contract's example."""
    for given_fields in (CANDLES | {"interval": None}, {name: CANDLES[name] for name in CANDLES if name != "interval"}):
        error = refused(given_fields)
        assert (str(error), error.code) == ("'interval' is needed for channel 'candles'", "bad_request")


@pytest.mark.parametrize("interval", ["", "2m", "1M", "1dxyz", 60, ["1m"], {}, True, 0, False])
def test_an_unknown_interval_is_refused(interval):
    """With those there are."""
    error = refused(CANDLES | {"interval": interval})
    assert error.code == "unknown_interval"
    assert str(error) == f"'interval' is {interval!r}; allowed: {', '.join(INTERVALS)}"


@pytest.mark.parametrize("interval", ["1m", None, ""])
@pytest.mark.parametrize("channel", ["trades", "quotes"])
def test_only_candles_have_an_interval(channel, interval):
    """Elsewhere it is a mistake, even an empty one."""
    error = refused(SUBSCRIBE | {"channel": channel, "interval": interval})
    assert (str(error), error.code) == (
        f"'interval' goes with channel 'candles', not with {channel!r}",
        "bad_request",
    )


@pytest.mark.parametrize("symbols", [None, [], "AAPL", "*", {}, {"AAPL": 1}, 5, True])
def test_symbols_are_a_list_that_is_not_empty(symbols):
    """A single name too."""
    error = refused(SUBSCRIBE | {"symbols": symbols})
    assert error.code == "bad_request"
    assert str(error).startswith(f"'symbols' is {symbols!r}, expected a list of names")


@pytest.mark.parametrize(
    "symbol", ["", "aapl", " AAPL", "A" * 17, "**", "AAPL*", "{A}", None, 5, ["A"], True, "A\n", "x" * 9999]
)
def test_what_is_no_symbol_is_refused(symbol):
    """One bad name refuses the request, with no more of it than its beginning."""
    error = refused(SUBSCRIBE | {"symbols": ["AAPL", symbol]})
    assert error.code == "bad_request"
    assert " in 'symbols' is no symbol" in str(error)
    assert len(str(error)) < 200


@pytest.mark.parametrize("snapshot", [None, 1, 0, "true", []])
def test_snapshot_is_true_or_false(snapshot):
    """Nothing that merely looks like it."""
    error = refused(SUBSCRIBE | {"snapshot": snapshot})
    assert (str(error), error.code) == (f"'snapshot' is {snapshot!r}; allowed: true, false", "bad_request")


@pytest.mark.parametrize("deliver", [None, "", "some", "ALL", 1, True, ["all"]])
def test_an_unknown_way_to_deliver_is_refused(deliver):
    """With what is allowed."""
    error = refused(SUBSCRIBE | {"deliver": deliver})
    assert error.code == "bad_request"
    assert str(error).startswith(f"'deliver' is {deliver!r}; allowed: 'all'")


def test_the_latest_comes_every_so_often():
    """Every 100 ms unless told otherwise."""
    assert parse(json.dumps(SUBSCRIBE)).delivery == EVERY_MESSAGE
    assert parse(json.dumps(SUBSCRIBE | {"deliver": "latest"})).delivery == Delivery(100)
    assert parse(json.dumps(SUBSCRIBE | {"deliver": "latest", "every_ms": 250})).delivery == Delivery(250)
    query = [("channel", "trades"), ("symbols", "AAPL"), ("deliver", "latest"), ("every_ms", "50")]
    assert from_query(query).delivery == Delivery(50)


@pytest.mark.parametrize("every_ms", [0, -1, 60_001, 1.5, True, None, "50", [50]])
def test_an_interval_of_the_latest_that_cannot_be_is_refused(every_ms):
    """With what is allowed."""
    error = refused(SUBSCRIBE | {"deliver": "latest", "every_ms": every_ms})
    assert str(error) == f"'every_ms' is {every_ms!r}; allowed: 1 to 60000"


def test_an_interval_goes_with_the_latest_alone():
    """Elsewhere it would have no effect."""
    assert str(refused(SUBSCRIBE | {"every_ms": 100})) == "'every_ms' goes with deliver 'latest'"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["op", "id", "channel", "symbols", "interval", "deliver", "snapshot", "resume", "x"])
VALUES = JSON | st.sampled_from([*messages.FIELDS, *messages.CHANNELS, "1m", "all", ["AAPL"], ["*"]])


@given(st.dictionaries(FIELDS, VALUES))
def test_any_object_is_a_request_or_refused(given_fields):
    """Never another error."""
    try:
        request = parse(json.dumps(given_fields))
    except RequestError as error:
        answer = json.loads(messages.error(error, error.id))
    else:
        answer = json.loads(messages.message(request.op, request.id))
    assert answer["type"] in ("error", *messages.FIELDS)


def test_an_address_without_query_asks_for_nothing():
    """The client subscribes later."""
    assert from_query([]) is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ([("channel", "trades"), ("symbols", "AAPL,MSFT")], Request("subscribe", 0, "trades", None, ("AAPL", "MSFT"))),
        (
            [("channel", "candles"), ("interval", "5m"), ("symbols", "*"), ("snapshot", "false"), ("deliver", "all")],
            Request("subscribe", 0, "candles", "5m", ("*",), snapshot=False),
        ),
        (
            [("snapshot", "true"), ("channel", "quotes"), ("symbols", "A")],
            Request("subscribe", 0, "quotes", None, ("A",)),
        ),
    ],
)
def test_an_address_can_subscribe(query, expected):
    """As the request with id 0."""
    assert from_query(query) == expected


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ([("channel", "trades")], "bad_request", "'symbols' is None, expected a list"),
        ([("symbols", "AAPL")], "unknown_channel", "'channel' is None"),
        ([("channel", "trades"), ("symbols", "")], "bad_request", "'' in 'symbols' is no symbol"),
        ([("channel", "trades"), ("symbols", "A,")], "bad_request", "'' in 'symbols' is no symbol"),
        ([("channel", "trades"), ("channel", "trades")], "bad_request", "parameter 'channel' is given twice"),
        ([("op", "list")], "bad_request", "'op' and 'id' cannot be given in the address"),
        ([("id", "1"), ("channel", "trades"), ("symbols", "A")], "bad_request", "'op' and 'id' cannot be given"),
        ([("chanel", "trades")], "bad_request", "unknown field 'chanel' for 'subscribe'"),
        ([("channel", "trades"), ("symbols", "A"), ("snapshot", "1")], "bad_request", "'snapshot' is '1'"),
        ([("channel", "candles"), ("symbols", "A")], "bad_request", "'interval' is needed"),
    ],
)
def test_a_mistake_in_the_address_is_refused_as_the_request_with_id_0(query, code, message):
    """With the same codes."""
    with pytest.raises(RequestError) as caught:
        from_query(query)
    assert (caught.value.code, caught.value.id) == (code, 0)
    assert message in str(caught.value)


def test_an_error_says_which_request_failed_why_and_whether_to_try_again():
    """In the words of the contract."""
    error = RequestError(1, "'interval' is needed for channel 'candles'")
    assert messages.error(error, error.id) == (
        b'{"type":"error","id":1,"code":"bad_request",'
        b'"message":"\'interval\' is needed for channel \'candles\'","retry":false}'
    )
    away = BadRequest("the store is away", code=StoreUnavailable.code)
    assert json.loads(messages.error(away, None)) == {
        "type": "error",
        "code": "unavailable",
        "message": "the store is away",
        "retry": True,
    }


def test_a_message_without_id_has_none():
    """Events answer nobody; id 0 is one."""
    assert messages.message("heartbeat", time=5, sent=2) == b'{"type":"heartbeat","time":5,"sent":2}'
    assert messages.message("pong", 0) == b'{"type":"pong","id":0}'
    assert messages.message("pong", "") == b'{"type":"pong","id":""}'


def test_a_snapshot_is_the_live_message_marked_as_one_that_was_sent_before():
    """At its end, where nothing else moves."""
    live = b'{"type":"trade","symbol":"AAPL","seq":7}'
    assert messages.as_snapshot(live) == b'{"type":"trade","symbol":"AAPL","seq":7,"snapshot":true}'


def test_a_position_is_an_epoch_and_a_number():
    """Of a symbol without ticks, null and 0."""
    assert messages.position("k3x9", 7) == {"epoch": "k3x9", "seq": 7}
    assert messages.position(None, 0) == {"epoch": None, "seq": 0}
