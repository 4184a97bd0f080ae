"""A notebook's code as a script: what becomes Python, what is left out, what is in the way."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp.notebook import Converted, convert
from server_ext.errors import BadRequest


def notebook(*sources: str | list[str], **more: Any) -> dict[str, Any]:
    cells = [{"cell_type": "code", "source": source} for source in sources]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **more}


def converted(*sources: str | list[str]) -> Converted:
    made = convert(notebook(*sources), "train.ipynb")
    if not made.obstacles:
        compile(made.script, "train.py", "exec")
        assert "get_ipython" not in made.script
    return made


def code(*sources: str | list[str]) -> list[str]:
    """The lines of the script after its head."""
    made = converted(*sources)
    assert not made.obstacles, made.obstacles
    return made.script.split("\n\n", 1)[1].rstrip("\n").split("\n")


def test_plain_code_is_there_as_it_was() -> None:
    first = "# größe\nimport os\n\n\ndef f(x):\n    '''!ls\n    %x'''\n    return x % 2\n"
    assert code(first, ["a = 1\n", "b = f(a)"]) == [
        "# %% cell 1",
        *first.rstrip("\n").split("\n"),
        "",
        "# %% cell 2",
        "a = 1",
        "b = f(a)",
    ]


def test_the_whole_is_a_script_that_runs() -> None:
    made = converted(
        "%matplotlib inline\n!nvidia-smi\n!pip install -q x",
        "from __future__ import annotations\n%env SEED=7\n%cd /\n",
        "%%time\nprint(os.getcwd(), os.environ['SEED'])\n!ls -la | head -3",
        "for i in range(2):\n    !echo $i\n    %time print(i)\n",
        "%time x = 'é'; y = 2\nprint(x, y)",
    )
    assert made.obstacles == ()
    done = subprocess.run([sys.executable, "-c", made.script], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (["/", "7", "0", "1", "é", "2"], "")
    assert [(one.cell, one.line, one.code) for one in made.left_out] == [
        (1, 1, "%matplotlib inline"),
        (1, 2, "!nvidia-smi"),
        (1, 3, "!pip install -q x"),
        (3, 1, "%%time"),
        (3, 3, "!ls -la | head -3"),
        (4, 2, "!echo $i"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        *("%matplotlib inline", "%load_ext autoreload", "%autoreload 2", "%config X.y = 2", "%who"),
        *("?print", "print?", "%pip install torch", "!pip install -U x", "!python -m pip list"),
        *("!nvidia-smi -L", "!ls ~/data && df -h", "!cat train.py | grep lr", "!FOO=1 env"),
        *("%env", "%env HOME", "%tensorboard --logdir runs", "!ls \\\n -la", "%ls", "!conda list"),
    ],
)
def test_what_a_run_does_without_is_left_out_and_named(line: str) -> None:
    made = converted(f"a = 1\n{line}\nb = 2")
    assert made.obstacles == ()
    assert [one.code for one in made.left_out] == [line.split("\n")[0]]
    assert "a = 1\npass" in made.script and "\nb = 2\n" in made.script


@pytest.mark.parametrize(
    ("line", "python"),
    [
        ("%env A=b c", "os.environ['A'] = 'b c'"),
        ("%env A b", "os.environ['A'] = 'b'"),
        ("%set_env WANDB_MODE=offline", "os.environ['WANDB_MODE'] = 'offline'"),
        ("%cd data set", "os.chdir(os.path.expanduser('data set'))"),
        ("%cd '~/x'", "os.chdir(os.path.expanduser('~/x'))"),
        ("%time f(1, 'é')", "f(1, 'é')"),
        ("%timeit x = 2", "x = 2"),
    ],
)
def test_what_python_has_too_becomes_python(line: str, python: str) -> None:
    made = converted(line)
    assert made.script.rstrip("\n").split("\n")[-1] == python
    assert ("\nimport os\n" in made.script) == ("os." in python)


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("!wget http://x/data.zip", 1, "every process"),
        ("x = 1\n!python prepare.py", 2, "every process"),
        ("!ls > files.txt", 1, "every process"),
        ("!cat $(find .)", 1, "every process"),
        ("!echo 'open", 1, "every process"),
        ("files = !ls", 1, "Its result"),
        ("t = %timeit -o f()", 1, "Its result"),
        ("%run other.py", 1, "%run exists in notebooks only"),
        ("%timeit -n 10 f()", 1, "%timeit exists"),
        ("%time !ls", 1, "%time exists"),
        ("%env A=$HOME", 1, "%env exists"),
        ("%cd {folder}", 1, "%cd exists"),
        ("%cd -", 1, "%cd exists"),
        ("%%bash\nls", 1, "every process"),
        ("\n\n%%cython\nx", 3, "%%cython exists"),
        ("%%time\n%%bash\nls", 2, "every process"),
        ("%%time\nx = !ls", 2, "Its result"),
        ("get_ipython().events", 1, "Its result"),
        ("shell = get_ipython()", 1, "Its result"),
        ("a = 1\nawait f()", 2, "asyncio.run"),
        ("async with x:\n    pass", 1, "asyncio.run"),
        ("x = 1\ndef f(:", 2, "Python cannot read it"),
        ("%%", 1, "exists in notebooks only"),
        ("!ls \\\n  -la\nx = !ls", 3, "Its result"),
    ],
)
def test_an_obstacle_is_named_with_its_place(source: str, line: int, says: str) -> None:
    made = converted("ok = 1", source)
    assert made.script == ""
    one = made.obstacles[0]
    assert (one.cell, one.line) == (2, line)
    shown = one.view(lambda text: text)
    assert says in shown["message"] and "{" not in shown["message"]
    assert one.code == source.split("\n")[line - 1].strip()


def test_all_obstacles_are_named_at_once() -> None:
    made = converted("!wget x\n!unzip x", "%run y.py")
    assert [(one.cell, one.line) for one in made.obstacles] == [(1, 1), (1, 2), (2, 1)]


def test_coroutines_and_their_calls_are_no_obstacle() -> None:
    lines = ["async def f():", "    await g()", "asyncio.run(f())"]
    assert code("\n".join(lines))[1:] == lines


def test_cells_that_are_no_python_are_passed_over() -> None:
    made = converted("%%html\n<b>x</b>", "%%writefile a.py\nimport x", "%%latex\nx", "a = 1")
    assert [one.code for one in made.left_out] == ["%%html", "%%writefile a.py", "%%latex"]
    assert "<b>" not in made.script and "import x" not in made.script
    book = notebook("a = 1")
    book["cells"] += [{"cell_type": "markdown", "source": "!ls"}, {"cell_type": "raw"}, 7, {}]
    assert convert(book, "x").script.count("# %%") == 1


def test_display_is_there_as_in_a_notebook() -> None:
    assert "from IPython.display import display\n" in converted("display(1)").script
    for own in ("def display(x): pass", "from mine import display", "display = print"):
        assert "IPython" not in converted(own, "display(1)").script
    assert "IPython" not in converted("x.display()").script


@pytest.mark.parametrize(
    "book",
    [
        None,
        [],
        {},
        {"cells": {}},
        {"worksheets": [{"cells": []}]},
        {"cells": []},
        notebook(),
        notebook("  \n"),
        notebook("x", metadata={"kernelspec": {"language": "R"}}),
        notebook("x", metadata={"language_info": {"name": "julia"}}),
        {"cells": [{"cell_type": "code", "source": 7}]},
    ],
)
def test_what_has_no_python_is_refused(book: object) -> None:
    with pytest.raises(BadRequest) as refused:
        convert(book, "train.ipynb")
    assert str(refused.value)


LINES = st.sampled_from(
    ["a = 1", "!ls", "%time b = 2", "    !pwd", "if a:", "    %who", "for i in 'ab': !date", "'''"]
    + ["x = '''é", "!ls \\", "%%time", "%%bash", "c = (1,", ")", "# é", "%env A=1", "%cd x", "y?"]
    + ["try:", "except E:", "    pass", "\tz = 1", "d = 1; %who", "\x0c", "", "print('\u2028')"]
)


@given(st.lists(st.lists(LINES, max_size=6), min_size=1, max_size=3))
def test_any_cells_give_python_or_obstacles(cells: list[list[str]]) -> None:
    try:
        made = convert(notebook(*("\n".join(lines) for lines in cells)), "x.ipynb")
    except BadRequest:
        return
    assert bool(made.script) != bool(made.obstacles)
    if made.script:
        tree = ast.parse(made.script)
        assert not any(isinstance(n, ast.Name) and n.id == "get_ipython" for n in ast.walk(tree))
    for remark in (*made.left_out, *made.obstacles):
        assert 1 <= remark.line and remark.view(str)["message"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["cells", "metadata", "source", "cell_type", "kernelspec", "language"]),
            inner | st.just("code"),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_a_script_or_a_refusal(book: object) -> None:
    try:
        convert(book, "x.ipynb")
    except BadRequest as error:
        assert str(error)
