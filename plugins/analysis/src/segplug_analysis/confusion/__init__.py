"""Which classes a model takes for which: the confusion matrix of a results run."""
