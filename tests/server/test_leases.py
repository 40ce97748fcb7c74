"""Two people who label at once are not given the same image."""

from __future__ import annotations

from monailabel_app.leases import FreeImages, Leases


class _Store:
    def get_unlabeled_images(self, label_tag=None, labels=None):
        return ["a", "b", "c"]

    def get_image_info(self, image_id):
        return {"id": image_id}


def test_an_image_that_somebody_works_on_is_not_offered_to_others():
    leases = Leases()
    assert leases.take(["a", "b"], "a", "anna")
    assert leases.free(["a", "b"], "bert") == ["b"]
    assert leases.free(["a", "b"], "anna") == ["a", "b"]
    assert not leases.take(["a", "b"], "a", "bert"), "it was taken in between"
    leases.drop("a")
    assert leases.free(["a", "b"], "bert") == ["a", "b"]


def test_where_others_hold_every_image_one_of_them_is_given_all_the_same():
    leases = Leases()
    assert leases.take(["a"], "a", "anna")
    assert leases.free(["a"], "bert") == ["a"]
    assert leases.take(["a"], "a", "bert")
    assert leases.free(["a", "b"], "carl") == ["b"], "it is still anna's"


def test_an_image_is_free_again_after_a_while():
    leases = Leases(seconds=0.0)
    assert leases.take(["a", "b"], "a", "anna")
    assert leases.free(["a", "b"], "bert") == ["a", "b"]


def test_images_that_cannot_be_read_are_not_offered():
    free = FreeImages(_Store(), Leases(), "anna", {"b"})
    assert free.get_unlabeled_images() == ["a", "c"] == free.offered
    assert free.get_image_info("a") == {"id": "a"}
