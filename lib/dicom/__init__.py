"""DICOM: images, loops, volumes and series read, and what objects of our own share."""
