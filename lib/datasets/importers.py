"""The data sets that can be imported, one row each. The command line reads its choices here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from lib.datasets.importing import ImportReport, OnItem


@dataclass(frozen=True, kw_only=True)
class ImportOption:
    """An option of an importer, beside source, folder and progress.

    Attributes:
        name: keyword of the importer's function; the command line writes it with dashes.
        values: what the help calls its values; an option without values is a flag.
        type: of each value.
        required: whether the importer cannot do without it.
    """

    name: str
    help: str
    values: tuple[str, ...] = ()
    type: type = bool
    required: bool = False

    @property
    def flag(self) -> str:
        """The option as the command line writes it."""
        return f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True, kw_only=True)
class Importer:
    """How one data set is imported.

    Attributes:
        title: what the data set is, in a few words.
        layout: the files that are expected.
        function: ``module:name``, imported when it is called. It takes source folder, studies
            folder and `OnItem`, then `options` by name, and returns an `ImportReport`.
        options: what this importer takes beside these.
    """

    title: str
    layout: str
    function: str
    options: tuple[ImportOption, ...] = ()

    def run(
        self, source: Path, studies: Path, on_item: OnItem | None = None, **options: Any
    ) -> ImportReport:
        """Copy the data set in `source` into a studies folder in MONAI Label's layout.

        A source that is not this data set, or an unreadable file of it, is an `InputError`.
        """
        report: ImportReport = resolve_name(self.function)(source, studies, on_item, **options)
        return report


_TABLE = ImportOption(
    name="table",
    help="the CSV of densities, or the JSON of COCO; by default the one in SOURCE.",
    values=("FILE",),
    type=Path,
)

IMPORTERS = {
    "dsb2018": Importer(
        title="Kaggle Data Science Bowl 2018",
        layout="stage1_train/ID/images with masks, or images/, labels/",
        function="lib.datasets.dsb2018:import_dsb2018",
    ),
    "nuinsseg": Importer(
        title="NuInsSeg, nuclei in sections stained with H&E",
        layout="ORGAN/tissue images with ORGAN/label masks, or images/, masks/",
        function="lib.datasets.nuinsseg:import_nuinsseg",
    ),
    "nerve": Importer(
        title="Kaggle ultrasound-nerve-segmentation",
        layout="train/S_I.tif with train/S_I_mask.tif, or images/, labels/",
        function="lib.datasets.nerve:import_nerve",
        options=(
            ImportOption(
                name="drop_contradictions",
                help="leave out the label of the empty one where two nearly equal frames have a "
                "mask and an empty mask.",
            ),
        ),
    ),
    "busi": Importer(
        title="BUSI, breast ultrasound",
        layout="Dataset_BUSI_with_GT/CLASS/CLASS (N).png with masks, or images/, labels/, "
        "labels.csv",
        function="lib.datasets.busi:import_busi",
    ),
    "hc18": Importer(
        title="HC18, fetal heads",
        layout="NNN_HC.png with NNN_HC_Annotation.png, or images/, labels/; "
        "training_set_pixel_size_and_HC.csv",
        function="lib.datasets.hc18:import_hc18",
    ),
    "usgra_nerve": Importer(
        title="usgra-seg, nerves and vessels of regional anaesthesia",
        layout="images/, labels/ of 0, 1 nerve, 2 vessel",
        function="lib.datasets.usgra_nerve:import_usgra_nerve",
    ),
    "mr_us_prostate": Importer(
        title="the prostate in ultrasound volumes of MR-to-ultrasound pairs",
        layout="fixed_images/NAME.nii.gz with fixed_labels/NAME.nii.gz",
        function="lib.datasets.mr_us_prostate:import_mr_us_prostate",
    ),
    "stack": Importer(
        title="2D slices as volumes",
        layout="slices with labels in labels/final are one volume, or each folder of SOURCE is one",
        function="lib.datasets.stacks:import_stack",
        options=(
            ImportOption(
                name="spacing",
                help="mm between slices, rows and columns.",
                values=("Z", "Y", "X"),
                type=float,
                required=True,
            ),
        ),
    ),
    "dicom": Importer(
        title="DICOM as a scanner or an archive exports it",
        layout="folders of series; the slices of each become one volume, other images are copied",
        function="lib.datasets.dicom_folder:import_dicom",
    ),
    "inbreast": Importer(
        title="INbreast, mammograms",
        layout="AllDICOMs/ID_PATIENT_MG_SIDE_VIEW_ANON.dcm, or the same names as PNG, INbreast.csv",
        function="lib.datasets.inbreast:import_inbreast",
    ),
    "mini_mias": Importer(
        title="mini-MIAS, mammograms",
        layout="mdbNNN.pgm with Info.txt, or images/ with labels.csv",
        function="lib.datasets.mini_mias:import_mini_mias",
    ),
    "density": Importer(
        title="mammograms of a clinic",
        layout="DICOM, or names such as EXAM_R-CC.png, with a CSV of their densities (--table)",
        function="lib.datasets.density_folder:import_density_folder",
        options=(_TABLE,),
    ),
    "nnunet": Importer(
        title="a data set of nnU-Net",
        layout="dataset.json, imagesTr/CASE_0000.EXT, labelsTr/CASE.EXT",
        function="lib.datasets.nnunet:import_nnunet",
        options=(
            ImportOption(
                name="channel",
                help="the channel to import, by name or number, where there are several.",
                values=("NAME",),
                type=str,
            ),
        ),
    ),
    "coco": Importer(
        title="COCO instances",
        layout="a JSON of images, annotations and categories, beside the images",
        function="lib.datasets.coco:import_coco",
        options=(
            _TABLE,
            ImportOption(
                name="category",
                help="the category whose objects to number; by default each has its value.",
                values=("NAME",),
                type=str,
            ),
        ),
    ),
    "cellpose": Importer(
        title="masks of cellpose",
        layout="ID_seg.npy beside 2D images ID.EXT",
        function="lib.datasets.cellpose:import_cellpose",
    ),
}
