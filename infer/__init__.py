"""MONAI Label InferTasks: a thin skin over the predictors of `lib`."""
