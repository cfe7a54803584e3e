import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net.sanitise import file_name, identifier, json_line, literal, printable, token, well_formed

ANY = st.text(st.characters())


@pytest.mark.parametrize(
    "hostile",
    ["\x1b]0;own\x07", "a\r\nb", "\x9b31m", "\u202egpj.exe", "\u200b", "\ud800", "\0", "\U000e0041", "\u2028"],
)
def test_nothing_that_moves_a_cursor_or_hides_reaches_a_terminal(hostile):
    shown = printable(hostile)
    assert shown.isprintable()
    assert "\\" in shown


@given(ANY)
def test_printable_text_is_one_safe_line(text):
    shown = printable(text)
    assert shown.isprintable()
    assert not any(unicodedata.category(char)[0] == "C" for char in shown)


@given(st.text(max_size=50), st.text(max_size=50))
def test_two_texts_stay_two(left, right):
    assert (printable(left) == printable(right)) == (left == right)


@given(ANY)
def test_a_token_has_no_blank_comma_or_equals_sign(text):
    assert not set(token(text)) & set(" ,;='\"")


@given(ANY)
def test_a_file_name_stays_in_its_folder(text):
    name = file_name(text)
    assert 0 < len(name) <= 64
    assert name.isascii()
    assert not set(name) & set("/\\.\0")
    assert name[0] not in "-."


@given(ANY)
def test_json_is_one_ascii_line_that_loses_nothing(text):
    line = json_line({"k": text})
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"k": text} or text != well_formed(text)


@given(ANY)
def test_sql_quotes_hold(text):
    duckdb = pytest.importorskip("duckdb")
    expected = well_formed(text).replace("\0", "")
    assert duckdb.execute(f"SELECT {literal(text)}").fetchall() == [(expected,)]
    if expected:
        assert duckdb.sql(f"SELECT 1 AS {identifier(text)}").columns == [expected]


def test_long_text_is_cut_and_says_so():
    assert printable("x" * 10, limit=4) == "xxxx..."
