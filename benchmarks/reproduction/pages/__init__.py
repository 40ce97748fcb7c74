"""The pages that studies write."""
