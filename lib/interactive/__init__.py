"""Segmentation guided by clicks and scribbles."""
