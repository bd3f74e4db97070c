"""Prepared images are answered a batch at a time, as all at once."""

import numpy as np
from drawn_models import draw_model

from fashion_core.data.pixels import build_settings
from fashion_core.models.ensemble import join_models
from fashion_core.models.forward import predict_views
from search.registry.answers import predict_prepared


def test_batches_answer_as_all_at_once(sample_prepared):
    members = [draw_model(seed, sample_prepared.schema, image_size=64, eval_batch_size=7) for seed in (1, 2)]
    saved, indices = join_models(members, [2, 1]), sample_prepared.indices("val")[::-1]
    view = build_settings(members[0].config)
    found = predict_prepared(saved, {view: sample_prepared}, indices)
    for values, expected in zip(found, predict_views(saved, {view: sample_prepared.gather(indices)}), strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-5)
