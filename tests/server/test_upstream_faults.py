"""Faults of MONAI Label 0.8.5 that this app works around.

Each test fails on the day upstream mends its fault: then the workaround it names can go.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from monailabel import config
from monailabel.datastore.local import LocalDatastore
from monailabel.endpoints import (
    activelearning,
    batch_infer,
    datastore,
    infer,
    model,
    ohif,
    proxy,
    train,
)
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.exception import MONAILabelException
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.tasks.infer.basic_infer import BasicInferTask
from monailabel.utils.sessions import Sessions

from monailabel_app.studies.datastore import StudiesDatastore


@pytest.mark.parametrize(
    "endpoint",
    [
        infer.api_run_inference,
        train.api_run_model,
        batch_infer.api_run,
        datastore.api_save_label,
        model.api_update_model,
    ],
)
def test_endpoints_are_coroutines_that_never_wait(endpoint: object) -> None:
    """They block the event loop: `web.routes` runs each in a thread."""
    assert inspect.iscoroutinefunction(endpoint)
    assert "await" not in inspect.getsource(endpoint)  # type: ignore[arg-type]


def test_uploaded_weights_overwrite_the_live_file_in_place() -> None:
    """Unread and not atomically: `server._replacements` reads them first and publishes."""
    assert "shutil.copy(model_file, prev_file)" in inspect.getsource(model.update_model)


def test_ids_lose_every_copy_of_the_extension(tmp_path: Path) -> None:
    """It replaces wherever it finds it, not at the end: `StudiesDatastore._to_id`."""
    upstream = LocalDatastore(str(tmp_path / "a"), extensions=["*.tif"])
    ours = StudiesDatastore(str(tmp_path / "b"))
    assert upstream._to_id("cell.tif.old.tif") == ("cell.old", ".tif")
    assert ours._to_id("cell.tif.old.tif") == ("cell.tif.old", ".tif")


def test_the_second_image_of_a_stem_is_not_listed(tmp_path: Path) -> None:
    """`StudiesDatastore` lists it by its whole name."""
    for name in ("a.png", "a.tif"):
        (tmp_path / name).touch()
    assert LocalDatastore(str(tmp_path), extensions=["*.png", "*.tif"]).list_images() == ["a"]


def test_labels_and_index_are_written_in_place() -> None:
    """A kill meanwhile leaves a part of them: `StudiesDatastore` writes atomically."""
    assert "shutil.copy(label_filename, dest)" in inspect.getsource(LocalDatastore.save_label)
    writing = inspect.getsource(LocalDatastore._update_datastore_file)
    assert 'open(self._datastore_config_path, "w")' in writing


def test_a_damaged_index_stops_the_start(tmp_path: Path) -> None:
    """`StudiesDatastore._init_from_datastore_file` sets it aside."""
    (tmp_path / "datastore_v2.json").write_text("{")
    with pytest.raises(ValueError, match="JSON"):
        LocalDatastore(str(tmp_path), extensions=["*.png"])


def test_the_index_is_emptied_while_others_read_it() -> None:
    """`StudiesDatastore._reconcile_datastore` replaces it at once."""
    assert "objects.clear()" in inspect.getsource(LocalDatastore._remove_non_existing)


def test_files_moved_into_place_are_not_noticed() -> None:
    """`StudiesDatastore` listens for them as well."""
    assert "on_moved" not in inspect.getsource(LocalDatastore.__init__)


def test_label_tags_lead_out_of_the_labels_folder(tmp_path: Path) -> None:
    """`datastore.check_tag` refuses them."""
    store = LocalDatastore(str(tmp_path / "studies"), extensions=["*.png"])
    assert ".." in store._datastore.label_path("../../out")


def test_an_unknown_image_is_no_client_error(tmp_path: Path) -> None:
    """It is an exception that FastAPI answers with a bare 500: `server.explain` makes it a 404."""
    store = LocalDatastore(str(tmp_path), extensions=["*.png"])
    with pytest.raises(MONAILabelException):
        store.save_label("nobody", "label.png", "final", {})


def test_session_ids_are_joined_into_paths(tmp_path: Path) -> None:
    """A record somebody uploaded is believed: `guards._require_session` takes plain ids only."""
    (tmp_path / "image.png").touch()
    (tmp_path / "upload").mkdir()
    (tmp_path / "upload" / "meta.info").write_text(f'{{"image": "{tmp_path / "image.png"}"}}')
    sessions = Sessions(str(tmp_path / "sessions"))
    (tmp_path / "sessions").mkdir()
    assert sessions.get_session("../upload", update_ts=False) is not None


def test_batch_inference_takes_any_path_and_divides_by_no_gpus() -> None:
    """`guards.before_batch` checks the ids and switches `multi_gpu` off on a CPU."""
    assert BatchInferTask().get_images({"images": ["/etc/hostname"]}, None) == ["/etc/hostname"]  # type: ignore[arg-type]
    assert "idx % len(device_ids)" in inspect.getsource(BatchInferTask.__call__)


def test_training_all_models_hands_each_the_parameters_of_all() -> None:
    """`server.train_all` hands each its own."""
    assert "request=request, params=params" in inspect.getsource(train.run)


def test_annotators_may_replace_and_delete_weights() -> None:
    """The documentation of these routes says administrators: so does `access.ROWS`."""
    for endpoint in (model.api_update_model, model.api_delete_model):
        assert "AUTH_ROLE_ANNOTATOR" in inspect.getsource(endpoint)


def test_sessions_belong_to_nobody() -> None:
    """`ownership.own_session` keeps who made one."""
    assert "user" not in inspect.signature(Sessions.add_session).parameters


def test_a_reload_makes_a_second_app() -> None:
    """It would not know that it is the server: `routes.install` replaces it by a refresh."""
    from monailabel import app

    assert "clear_cache()" in inspect.getsource(app.reload)


def test_ids_of_uploads_end_at_the_first_dot() -> None:
    """`guards.before_upload` takes the file's stem."""
    source = inspect.getsource(datastore.add_image)
    assert '"".join(pathlib.Path(file.filename).suffixes)' in source


def test_a_network_without_weights_counts_as_valid() -> None:
    """It would answer at random: `SegmentationInfer.is_valid` asks for weights."""
    assert InferTask.is_valid is not BasicInferTask.is_valid
    source = inspect.getsource(BasicInferTask.is_valid)
    assert "if self.network or self.type == InferType.SCRIBBLES" in source


def test_the_viewer_files_are_joined_with_the_wrong_separator() -> None:
    """Nested files of OHIF come back as its index page."""
    assert 'path.replace("/", os.pathsep)' in inspect.getsource(ohif.get_ohif)


def test_kinds_of_images_are_missing_from_the_default_list() -> None:
    """`lib.io.read.FILE_TYPES` has them."""
    default = config.Settings.model_fields["MONAI_LABEL_DATASTORE_FILE_EXT"].default
    assert not {"*.jpeg", "*.bmp", "*.tiff", "*.dcm"} & set(default)


def test_the_proxy_of_viewers_drops_their_query() -> None:
    """Every patient's studies are listed: `monailabel_app.archive.proxy`."""
    assert "query" not in inspect.getsource(proxy.proxy_dicom)


def test_an_archive_lists_ct_alone_and_downloads_a_program_at_its_start() -> None:
    """`monailabel_app.archive` is a datastore of our own."""
    fields = config.Settings.model_fields
    assert fields["MONAI_LABEL_DICOMWEB_SEARCH_FILTER"].default == {"Modality": "CT"}
    source = inspect.getsource(MONAILabelApp._init_dicomweb_datastore)
    assert "_download_dcmqi_tools()" in source
    assert "release" in inspect.getsource(MONAILabelApp._download_dcmqi_tools)


def test_the_name_of_who_saves_a_label_is_forgotten() -> None:
    """`guards` writes it into the label's information."""
    source = inspect.getsource(datastore.save_label)
    assert 'save_params["user"]' not in source


def test_every_next_sample_and_training_starts_processes_that_score() -> None:
    """By default, one per scoring method: `App` turns that off."""
    assert config.settings.model_fields["MONAI_LABEL_AUTO_UPDATE_SCORING"].default is True
    for method in (MONAILabelApp.next_sample, MONAILabelApp.train):
        assert "self.async_scoring(None)" in inspect.getsource(method)


def test_every_next_sample_looks_at_all_models_and_rewrites_the_index() -> None:
    """Which takes longer than choosing it: `server._replacements` does neither."""
    source = inspect.getsource(activelearning.sample)
    assert "instance.info()" in source and "update_image_info" in source
