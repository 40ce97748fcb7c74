"""From studies to cases: what training and answering are given."""
