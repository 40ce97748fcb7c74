"""Studies in a DICOMweb archive: images, labels, and an archive to try it with."""
