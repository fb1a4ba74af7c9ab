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


@pytest.fixture
def cache(store: Store) -> DigestCache:
    """The digest cache beside the store."""
    return DigestCache(store.database)


def test_what_was_saved_is_there_until_it_changes_or_goes(cache: DigestCache) -> None:
    assert cache.load() == {}
    later = (*SEEN[:2], 121, *SEEN[3:5], "cd" * 32)
    cache.save({"/w/a": SEEN, "/w/b": SEEN, "/w/c": SEEN})
    cache.save({"/w/b": later, "/w/c": None, "/w/never": None})
    cache.save({})
    assert cache.load() == {"/w/a": SEEN, "/w/b": later}


def test_the_cache_of_some_folders_can_be_had_alone(cache: DigestCache) -> None:
    odd = os.fsdecode(b"/w/sales/caf\xe9.csv")
    paths = ["/w/sales/a", "/w/sales/in/b", "/w/sales2/c", "/w/sales", "/w/tax/d", odd]
    cache.save(dict.fromkeys(paths, SEEN))
    assert set(cache.load("/w/sales")) == {"/w/sales/a", "/w/sales/in/b", odd}
    assert set(cache.load("/w/sales/", "/w/tax")) == {
        "/w/sales/a",
        "/w/sales/in/b",
        "/w/tax/d",
        odd,
    }
    assert set(cache.load("/")) == set(paths)
    assert cache.load("/w/none") == {}


def test_names_that_are_not_utf8_and_numbers_of_all_bits_survive(cache: DigestCache) -> None:
    path = os.fsdecode(b"/w/\xff\xfe")
    seen: Seen = ((1 << 64) - 1, 1 << 63, 5, -1, 1, "ef" * 32)
    cache.save({path: seen, "/w/ü": seen})
    assert cache.load() == {path: seen, "/w/ü": seen}
    cache.save({path: None})
    assert cache.load() == {"/w/ü": seen}


def test_a_time_beyond_all_bits_costs_reading_the_file_again_and_no_more(
    cache: DigestCache,
) -> None:
    far: Seen = (1, 2, 3, 1 << 64, 4, "00" * 32)
    cache.save({"/w/far": far, "/w/near": SEEN})
    found = cache.load()
    assert found["/w/near"] == SEEN
    assert found["/w/far"][3] != far[3]


def test_a_sweep_drops_files_that_are_gone(cache: DigestCache, tmp_path: Path) -> None:
    there, dangling, gone = tmp_path / "there", tmp_path / "dangling", tmp_path / "a" / "gone"
    there.touch()
    dangling.symlink_to("nothing")
    cache.save(dict.fromkeys(map(str, (there, dangling, gone)), SEEN))
    assert cache.sweep() == 1
    assert set(cache.load()) == {str(there), str(dangling)}


def test_a_database_opened_for_reading_is_written_to_as_well(
    store: Store, cache: DigestCache
) -> None:
    with Store.open_readonly(store.path) as reader:
        beside = DigestCache(reader.database)
        beside.save({"/w/a": SEEN})
        assert beside.load() == cache.load() == {"/w/a": SEEN}


def test_where_there_is_no_database_none_is_made_for_digests(tmp_path: Path) -> None:
    with Store.open_readonly(tmp_path / "none.db") as reader:
        DigestCache(reader.database).save({"/w/a": SEEN})
    assert list(tmp_path.iterdir()) == []


def test_what_the_disk_holds_is_no_history(store: Store, cache: DigestCache) -> None:
    before = store.revision
    cache.save({"/w/a": SEEN})
    cache.sweep()
    assert store.revision == before
