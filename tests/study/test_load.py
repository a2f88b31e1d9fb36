"""Reading a study: what a TOML may hold, and how a mistake in it is told."""

import re
from pathlib import Path

import pytest

from workbench.study import ClaimError, Needs, load, load_claims, load_needs
from workbench.study._load import parse_number, slugify

TOY = Path(__file__).parent.parent / "toy"
PAPER = '[paper]\ntitle = "t"\nauthors = "a"\nyear = 2025\nlink = "l"\nsummary = "s"\n'
CLAIM = 'statement = "s"\nsource = "table 1"\npublished_text = "3x"\npublished = 3\n'
TESTED = CLAIM + 'check = { kind = "magnitude" }\ntolerance = { rel = 0.1, reason = "r" }\n'


@pytest.fixture
def write(tmp_path):
    def write(text, name="some-paper.toml"):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_a_study_is_two_files():
    study = load(TOY / "amdahl.toml")
    assert study.slug == "amdahl"
    assert [claim.id for claim in study.claims] == ["amdahl.limit", "amdahl.mainframe"]
    assert set(study.presets) == {"quick", "full"}
    assert study.needs == Needs()
    outcome = study.run(study.presets["quick"], type("Log", (), {"log": lambda self, **row: None})())["limit"]
    assert abs(outcome.value - 19.6) < 0.05


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[paper", "not valid TOML"),
        (PAPER, "holds no claim"),
        (PAPER + "[other]\n", "unknown section ['other']"),
        (PAPER.replace('title = "t"\n', "") + '[[claims]]\nkey = "k"\n' + TESTED, "[paper], title: missing"),
        (
            PAPER.replace("2025", '"2025"') + '[[claims]]\nkey = "k"\n' + TESTED,
            "[paper], year: '2025' must be a whole number",
        ),
        (PAPER + '[[claims]]\nkey = "Not A Key"\n' + TESTED, "claim 'Not A Key', key: must be lower-case"),
        (PAPER + '[[claims]]\nkey = "k"\n' + TESTED + "colour = 1\n", "claim 'k', colour: unknown field"),
        (PAPER + '[[claims]]\nkey = "k"\n' + TESTED.replace('source = "table 1"\n', ""), "claim 'k', source: missing"),
        (
            PAPER + '[[claims]]\nkey = "k"\n' + TESTED.replace("magnitude", "guess"),
            "claim 'k', check.kind: 'guess' must be one of",
        ),
        (
            PAPER + '[[claims]]\nkey = "k"\n' + TESTED.replace("published = 3", 'published = "3"'),
            "claim 'k', published: '3' must be",
        ),
        (
            PAPER + '[[claims]]\nkey = "k"\n' + TESTED.replace("published = 3", "published = [4, 3]"),
            "claim 'k', published: [4, 3] must be",
        ),
        (
            PAPER + '[[claims]]\nkey = "k"\n' + TESTED.replace("rel = 0.1", "rel = -1"),
            "claim 'k', tolerance.rel: -1 must be",
        ),
        (
            PAPER + '[[claims]]\nkey = "k"\n' + TESTED.replace(', reason = "r"', ""),
            "claim 'k', tolerance.reason: must say why",
        ),
        (
            PAPER + '[[claims]]\nkey = "k"\n' + TESTED.replace("published = 3\n", ""),
            "claim 'k', published: must be a number",
        ),
        (
            PAPER + '[[claims]]\nkey = "k"\n' + CLAIM + 'evidence = "published"\n',
            "claim 'k', not_testable: must say what is missing",
        ),
        (
            PAPER + '[[claims]]\nkey = "k"\n' + TESTED + 'evidence = "felt"\n',
            "claim 'k', evidence: 'felt' must be one of",
        ),
        (PAPER + ('[[claims]]\nkey = "k"\n' + TESTED) * 2, "claim 'k', key: stands 2 times"),
        (
            PAPER + '[[tables]]\nkey = "$model"\nfile = "none.csv"\nvalue = "v"\n',
            "table '$model', file: there is no none.csv",
        ),
        (PAPER + '[[tables]]\nkey = "$model"\n', "table '$model', columns: missing"),
        (
            PAPER + '[[tables]]\nkey = "$model"\ncolumns = ["a"]\nrows = { b = [1, 2] }\n',
            "rows.b: 2 cells for 1 columns",
        ),
        (PAPER + '[[tables]]\nkey = "$model"\ncolumns = ["a"]\nrows = { b = [1] }\n', "'model' is not a column"),
        (PAPER + '[needs]\ncards = 2\n[[claims]]\nkey = "k"\n' + TESTED, "[needs], cards: unknown field"),
    ],
)
def test_a_mistake_is_told_with_file_claim_and_field(write, text, told):
    file = write(text)
    with pytest.raises(ClaimError, match=re.escape(told)) as caught:
        load_claims(file) and load_needs(file)
    assert str(caught.value).startswith("some-paper.toml")


def test_defaults_are_filled_in_and_can_be_overridden(write):
    _, claims = load_claims(
        write(
            PAPER
            + '[defaults]\nunit = "x"\nverified = false\n[[claims]]\nkey = "a"\n'
            + TESTED
            + '[[claims]]\nkey = "b"\nunit = "s"\n'
            + TESTED
        )
    )
    assert [(claim.unit, claim.verified) for claim in claims] == [("x", False), ("s", False)]


def test_a_table_in_the_toml_is_one_claim_a_cell(write):
    table = '[[tables]]\nkey = "ppl.$row.$column"\nstatement = "Perplexity of $column at $row."\nsource = "table 5"\n'
    table += 'not_testable = "needs a GPU"\ncolumns = ["Para GRU", "Mamba2"]\n'
    table += 'rows = { 400M = ["18.56", "16.49"], 1B = ["13.20", ""] }\n'
    _, claims = load_claims(write(PAPER + table))
    assert [c.key for c in claims] == ["ppl.400m.para-gru", "ppl.400m.mamba2", "ppl.1b.para-gru"]
    assert claims[0].statement == "Perplexity of Para GRU at 400M."
    assert (claims[2].published_text, claims[2].published.value) == ("13.20", 13.2)
    assert claims[1].conditions == {"row": "400M", "column": "Mamba2"}


def test_claims_and_tables_of_one_topic_stand_together(write):
    texts = [f'[[claims]]\nkey = "{key}"\n' + TESTED for key in ("speed.a", "size.a")]
    table = (
        '[[tables]]\nkey = "speed.$row"\n'
        + TESTED.replace("published", "#")
        + 'columns = ["v"]\n[tables.rows]\nb = ["3"]\n'
    )
    assert [c.key for c in load_claims(write(PAPER + "".join(texts) + table))[1]] == ["speed.a", "speed.b", "size.a"]


def test_a_table_in_a_csv_can_be_filtered(write):
    write("# source: table 5\nsize,model,ms\n400M,a,81.0\n1B,a,157\n", "figures.csv")
    table = '[[tables]]\nkey = "ms.$size"\nstatement = "s"\nsource = "t"\nnot_testable = "n"\n'
    table += 'file = "figures.csv"\nvalue = "ms"\n'
    assert [c.published.value for c in load_claims(write(PAPER + table))[1]] == [81.0, 157.0]
    assert [c.key for c in load_claims(write(PAPER + table + 'where = { size = "1B" }\n'))[1]] == ["ms.1b"]


def test_the_hash_sees_every_change(write):
    hashes = {
        load_claims(write(PAPER + '[[claims]]\nkey = "k"\n' + text))[1][0].hash
        for text in (TESTED, TESTED.replace("= 3\n", "= 4\n"), TESTED.replace("0.1", "0.2"), TESTED + 'scope = "x"\n')
    }
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("text", "number"),
    [("665x", 665), ("1,122x", 1122), ("~37", 37), ("2.5e-3", 0.0025), ("-0.63", -0.63), ("none", None)],
)
def test_numbers_are_read_as_printed(text, number):
    assert parse_number(text) == number


def test_slugs():
    assert slugify("ParaGRU (7B), 2.9B") == "paragru-7b-2.9b"


def test_a_study_without_code_or_preset_is_refused(write, tmp_path):
    file = write(PAPER + '[[claims]]\nkey = "k"\n' + TESTED, "half.toml")
    with pytest.raises(FileNotFoundError, match=r"half\.py"):
        load(file)
    (tmp_path / "half.py").write_text("PRESETS = {}\n")
    with pytest.raises(AttributeError, match="public `run`"):
        load(file)
    (tmp_path / "half.py").write_text("PRESETS = {'quick': {}}\nrun = None\n")
    with pytest.raises(TypeError, match=r"PRESETS\['quick'\] must be an instance"):
        load(file)
