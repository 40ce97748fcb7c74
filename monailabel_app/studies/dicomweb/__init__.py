"""A studies folder as DICOMweb: objects made on the fly, nothing is written into the folder."""
