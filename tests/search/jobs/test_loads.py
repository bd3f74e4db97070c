"""Where trainings are measured that are to share a GPU."""

from search.jobs.loads import list_kinds


def node(name, *, gpus=0, kind=None, alive=True):
    resources = {"CPU": 4.0, **({"GPU": float(gpus)} if gpus else {})}
    return {
        "NodeID": name,
        "Alive": alive,
        "Resources": resources | ({f"accelerator_type:{kind}": 1.0} if kind else {}),
    }


def test_one_node_of_each_kind_of_gpu():
    nodes = [
        node("head"),
        node("dead", gpus=8, kind="H100", alive=False),
        node("a", gpus=1, kind="A100"),
        node("b", gpus=4, kind="H100"),
        node("c", gpus=2, kind="A100"),
        node("d", gpus=2),
    ]
    assert list_kinds(nodes) == ["a", "b", "d"]
    assert list_kinds([]) == []
