"""The README's code runs, and its commands name what is there."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_page_of_code_runs():
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["samples"].shape == (256, 2)


def test_every_file_it_names_is_there():
    for path in set(re.findall(r"(?:experiments|tests|jaxgan)/[\w/]+\.\w+", README)):
        assert (ROOT / path).is_file(), path
