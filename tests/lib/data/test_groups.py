"""`groups.csv` of a studies folder is read and written."""

from __future__ import annotations

import pytest

from lib.data.groups import Grouped, read_groups, write_groups
from lib.errors import InputError


def test_groups_of_other_sets_in_the_folder_are_kept(tmp_path):
    write_groups(tmp_path, [Grouped("a", "g1", "x"), Grouped("b", "g1")])
    write_groups(tmp_path, [Grouped("b", "g2", "y"), Grouped("c, d", "g3")])
    assert read_groups(tmp_path) == [
        Grouped("a", "g1", "x"),
        Grouped("b", "g2", "y"),
        Grouped("c, d", "g3"),
    ]
    assert (tmp_path / "groups.csv").read_text().splitlines()[0] == "id,group,class"


def test_a_table_of_something_else_is_not_taken_for_groups(tmp_path):
    assert read_groups(tmp_path) == []
    (tmp_path / "groups.csv").write_text("id,name\na,b\n")
    with pytest.raises(InputError, match="columns id, name, expected id, group, class"):
        read_groups(tmp_path)
