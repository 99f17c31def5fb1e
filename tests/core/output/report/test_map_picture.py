"""Names of clusters on the map of a report: inside the picture, and none over another."""

import numpy as np

from core.output.report.map_picture import draw_map, place_labels
from tests.browser.test_map import store_map


def test_the_name_of_a_smaller_cluster_gives_way():
    places = np.array([[50, 50], [52, 51], [50, 60], [80, 50]], np.float32)
    labels = place_labels(["cook, recipe", "parcel, date", "odd, wool", "packs, day"], places)
    assert [(label.name, label.left, label.top) for label in labels] == [
        ("cook, recipe", 50, 50),
        ("odd, wool", 50, 40),
        ("packs, day", 80, 50),
    ]


def test_a_name_that_would_leave_the_picture_and_one_without_words_are_left_out():
    places = np.array([[1, 50], [99, 50], [50, 50]], np.float32)
    assert place_labels(["cook, recipe", "parcel, date", ""], places) == []


def test_clusters_of_a_stored_map_are_named_where_they_are(subject, place, pool, run):
    store_map(place, pool, run)
    (file,) = place.root.glob("measurements/*/umap.npy")
    xy = (
        np.where(np.arange(240)[:, None] % 2, [1.0, 0.5], [-1.0, 0.0])
        + np.random.default_rng(0).normal(size=(240, 2)) / 50
    )
    xy[:2] = [-3, -3], [3, 3]  # so that both clusters lie inside
    np.save(file, xy.astype(np.float32))
    picture = draw_map(subject(budget="10%"))
    assert picture.words.startswith("UMAP of the prompt embeddings by the built-in model: 240 rows, 24 of them")
    places = sorted((label.left, label.top) for label in picture.labels)
    assert np.allclose(places, [(34.3, 50), (65.7, 42.1)], atol=1)
    assert draw_map(subject(budget="10%")) == picture
