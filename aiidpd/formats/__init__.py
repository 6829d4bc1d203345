"""Headers of model files and layouts of model caches: bounded readers on the standard library alone."""
