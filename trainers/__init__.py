"""MONAI Label TrainTasks: a thin skin over `lib.training.loop`."""
