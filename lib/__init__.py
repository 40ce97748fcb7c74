"""The science: tasks, networks, training and inference. Runs without MONAI Label."""
