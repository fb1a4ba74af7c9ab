"""The digest cache: what is saved comes back, whatever the path and the numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pit.state.cache.digests import DigestCache, Seen
from pit.state.store.store import Store

SEEN: Seen = (2049, 17, 120, 1_770_000_000_123_456_789, 1_770_000_000_987_654_321, "ab" * 32)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An open store in a fresh folder."""
    with Store.open(tmp_path / "pit_metadata.db") as opened:
        yield opened


def test_what_was_saved_is_there_until_it_changes_or_goes(store: Store) -> None:
    assert DigestCache(store.database).load() == {}
    later = (*SEEN[:2], 121, *SEEN[3:5], "cd" * 32)
    DigestCache(store.database).save({"/w/a": SEEN, "/w/b": SEEN, "/w/c": SEEN})
    DigestCache(store.database).save({"/w/b": later, "/w/c": None, "/w/never": None})
    DigestCache(store.database).save({})
    assert DigestCache(store.database).load() == {"/w/a": SEEN, "/w/b": later}


def test_the_cache_of_some_folders_can_be_had_alone(store: Store) -> None:
    odd = os.fsdecode(b"/w/sales/caf\xe9.csv")
    paths = ["/w/sales/a", "/w/sales/in/b", "/w/sales2/c", "/w/sales", "/w/tax/d", odd]
    DigestCache(store.database).save(dict.fromkeys(paths, SEEN))
    assert set(DigestCache(store.database).load("/w/sales")) == {"/w/sales/a", "/w/sales/in/b", odd}
    assert set(DigestCache(store.database).load("/w/sales/", "/w/tax")) == {
        "/w/sales/a",
        "/w/sales/in/b",
        "/w/tax/d",
        odd,
    }
    assert set(DigestCache(store.database).load("/")) == set(paths)
    assert DigestCache(store.database).load("/w/none") == {}


def test_names_that_are_not_utf8_and_numbers_of_all_bits_survive(store: Store) -> None:
    path = os.fsdecode(b"/w/\xff\xfe")
    seen: Seen = ((1 << 64) - 1, 1 << 63, 5, -1, 1, "ef" * 32)
    DigestCache(store.database).save({path: seen, "/w/ü": seen})
    assert DigestCache(store.database).load() == {path: seen, "/w/ü": seen}
    DigestCache(store.database).save({path: None})
    assert DigestCache(store.database).load() == {"/w/ü": seen}


def test_a_time_beyond_all_bits_costs_reading_the_file_again_and_no_more(store: Store) -> None:
    far: Seen = (1, 2, 3, 1 << 64, 4, "00" * 32)
    DigestCache(store.database).save({"/w/far": far, "/w/near": SEEN})
    found = DigestCache(store.database).load()
    assert found["/w/near"] == SEEN
    assert found["/w/far"][3] != far[3]


def test_a_sweep_drops_files_that_are_gone(store: Store, tmp_path: Path) -> None:
    there, dangling, gone = tmp_path / "there", tmp_path / "dangling", tmp_path / "a" / "gone"
    there.touch()
    dangling.symlink_to("nothing")
    DigestCache(store.database).save(dict.fromkeys(map(str, (there, dangling, gone)), SEEN))
    store.records.sweep()
    assert set(DigestCache(store.database).load()) == {str(there), str(dangling)}


def test_a_store_opened_for_reading_saves_them_as_well(store: Store) -> None:
    with Store.open_readonly(store.path) as reader:
        DigestCache(reader.database).save({"/w/a": SEEN})
        assert (
            DigestCache(reader.database).load()
            == DigestCache(store.database).load()
            == {"/w/a": SEEN}
        )
