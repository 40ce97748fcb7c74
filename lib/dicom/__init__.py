"""Reading of DICOM images and series."""
