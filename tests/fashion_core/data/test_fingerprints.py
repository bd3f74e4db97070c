"""Whatever decides the prepared pixels decides the name, and nothing else does."""

import hashlib
import os
import shutil
from dataclasses import replace

import pyarrow as pa
import pytest

from fashion_core.data.annotations import load_annotations
from fashion_core.data.fingerprints import compute_digest, fingerprint_content, fingerprint_quickly
from fashion_core.data.pixels import PrepareSettings
from fashion_core.data.schema import AttributeSchema

SETTINGS = PrepareSettings(64)


@pytest.fixture(scope="module")
def annotations(sample_folder):
    return load_annotations(sample_folder)


def test_another_image_box_label_class_setting_or_format_is_another_name(annotations):
    digests = [str(number) for number in range(annotations.table.num_rows)]
    known = fingerprint_content("one/1", annotations, SETTINGS, digests)
    assert known == fingerprint_content("one/1", annotations, SETTINGS, list(digests)) and len(known) == 32

    def change(name):
        column = annotations.table[name].to_pylist()
        column[5] = column[6] if column[5] != column[6] else column[5] * 2 + column[5]
        index = annotations.table.schema.get_field_index(name)
        table = annotations.table.set_column(
            index, annotations.table.schema.field(name), pa.array(column, annotations.table.schema.field(name).type)
        )
        return fingerprint_content("one/1", replace(annotations, table=table), SETTINGS, digests)

    others = [change(name) for name in ("image", "x1", "y2")]
    schema = AttributeSchema(annotations.schema.categories[::-1])
    others += [
        fingerprint_content("two/1", annotations, SETTINGS, digests),
        fingerprint_content("one/1", annotations, PrepareSettings(64, "whole"), digests),
        fingerprint_content("one/1", annotations, SETTINGS, ["other", *digests[1:]]),
        fingerprint_content("one/1", replace(annotations, schema=schema), SETTINGS, digests),
    ]
    assert len({known, *others}) == 1 + len(others)


def test_the_quick_name_follows_sizes_and_times(annotations, sample_folder, tmp_path):
    folder = shutil.copytree(sample_folder, tmp_path / "copy")
    files = [folder / name for name in annotations.table["image"].to_pylist()]
    known = fingerprint_quickly("one/1", annotations, SETTINGS, files)
    assert fingerprint_quickly("one/1", annotations, SETTINGS, files) == known
    os.utime(files[7], ns=(1, 1))
    assert fingerprint_quickly("one/1", annotations, SETTINGS, files) != known


def test_a_digest_is_that_of_the_bytes_or_of_none(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert compute_digest(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()
    assert compute_digest(tmp_path / "gone") == hashlib.sha256(b"").hexdigest()
